"""Whole files or none: a reader never sees half of one, and what was renamed into place outlives a power cut."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8, and rename them into place; on failure the old file stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        part = Path(temporary.name)
        try:
            temporary.write(content.encode() if isinstance(content, str) else content)
            temporary.flush()
            os.fsync(temporary.fileno())
            # Temporary files are private by default; reports are served by another process.
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file or a folder's entries to disk: a rename must not outlive what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
