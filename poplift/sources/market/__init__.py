"""A simulated market with known truth: what the platform is tested against, never a source of real figures."""
