"""The rules that let a challenger through, each with the numbers it was applied to."""
