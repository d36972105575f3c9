"""Feast's online stores as poplift runs them: one write contract, age limits on read, columns instead of objects."""
