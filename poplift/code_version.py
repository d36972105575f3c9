"""Which code made an artifact: the commit where there is one, and a hash of the sources everywhere."""

import subprocess
from collections.abc import Iterable
from hashlib import sha256

from poplift.settings import REPOSITORY

PACKAGES = ("poplift", "feature_repo", "training", "serving", "monitoring", "flows")


def source_digest(packages: Iterable[str] = PACKAGES) -> str:
    """Hash of the Python sources of the packages; equal digests mean equal code."""
    total = sha256()
    for package in packages:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            total.update(str(path.relative_to(REPOSITORY)).encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def commit() -> str:
    """Git commit of the checkout, with `-changed` when files differ from it; `none` outside a checkout."""
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "none"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return head.stdout.strip()[:12] + ("-changed" if changed.stdout.strip() else "")
