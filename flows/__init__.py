"""When things run: Prefect flows, deployments and the `poplift` command."""
