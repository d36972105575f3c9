"""Is it still right, and did it pay."""
