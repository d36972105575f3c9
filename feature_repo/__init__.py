"""What the data means as features: transformations, Feast definitions and Feast plug-ins."""
