"""From request to decision, online and batch."""
