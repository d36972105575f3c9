"""The homes of the integration tests, for the tests that compare two ways to the same numbers."""

from tests.integration.conftest import either_home, journey, redis_home, shared, small_home

__all__ = ["either_home", "journey", "redis_home", "shared", "small_home"]
