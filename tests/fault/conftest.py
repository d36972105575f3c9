"""The small source of the integration tests, for the tests that break things."""

from tests.integration.conftest import journey, shared, small_home

__all__ = ["journey", "shared", "small_home"]
