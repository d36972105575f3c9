"""From features to a registered candidate."""
