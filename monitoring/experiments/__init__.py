"""Experiments: how many outlets and weeks they need, and what they showed."""
