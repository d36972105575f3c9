"""What the repository tests look at: its root, its files, its modules."""

import ast
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("poplift", "feature_repo", "training", "serving", "monitoring", "flows")


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def packages() -> tuple[str, ...]:
    """The packages that ship."""
    return PACKAGES


def _listed_by_git() -> list[Path] | None:
    """What git would commit; None where there is no git or no checkout."""
    options = ["--cached", "--others", "--exclude-standard", "-z"]
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", *options]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return None
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


def _walked() -> list[Path]:
    """The same without git: everything but the folders that .gitignore names."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()} | {".git"}
    everything = (p.relative_to(ROOT) for p in ROOT.rglob("*"))
    return [
        file
        for file in everything
        if not any(fnmatch(part, name) for part in file.parts for name in ignored) and str(file) not in ignored
    ]


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file that is or would be committed, relative to the root."""
    listed = _listed_by_git()
    return sorted(f for f in (_walked() if listed is None else listed) if (ROOT / f).is_file())


@pytest.fixture(scope="session")
def modules(files: list[Path]) -> dict[Path, ast.Module]:
    """Syntax tree of every Python module of the packages."""
    ours = [f for f in files if f.suffix == ".py" and f.parts[0] in PACKAGES]
    assert len(ours) > len(PACKAGES)
    return {f: ast.parse((ROOT / f).read_text(encoding="utf-8")) for f in ours}


@pytest.fixture(scope="session")
def texts(files: list[Path]) -> dict[Path, str]:
    """Content of every text file of the repository."""
    found = {}
    for file in files:
        raw = (ROOT / file).read_bytes()
        if b"\0" not in raw:
            found[file] = raw.decode("utf-8")
    return found


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """pyproject.toml as data."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
