"""The small source of the integration tests, for the tests that break things."""

from tests.integration.conftest import journey, shared

__all__ = ["journey", "shared"]
