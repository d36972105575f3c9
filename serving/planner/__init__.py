"""The planner: which activations of a week earn most under a budget and the rules of the trade."""
