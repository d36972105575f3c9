"""Feast's offline store as poplift runs it: an as-of join in DuckDB instead of a join over all of history."""
