"""An upload of a model's files that fails in its middle, told as what it is."""

from collections.abc import Iterator
from contextlib import contextmanager


class ArtifactStoreError(Exception):
    """Files did not reach the artifact store; the message names it and says what to do."""


@contextmanager
def uploading(store: str) -> Iterator[None]:
    """What is raised inside becomes an ArtifactStoreError about the store at that URL: each kind has errors of its own.

    MLflow marks the run as failed and registers nothing.
    """
    try:
        yield
    except Exception as error:
        raise ArtifactStoreError(
            f"not all files of the model reached the artifact store {store}, so no version was registered: {error}"
            ". Run the same command again when the store answers."
        ) from error
