"""The steps as plain functions: each runs without Prefect, twice in a row, and after a crash."""
