"""Writes the hashed locks, which name no package index: run it as `make lock`."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILE = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
OPTIONS = ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
LOCKS = {
    "requirements.lock": ("production", "serving", "training", "monitoring", "flows", "development"),
    "requirements-serving.lock": ("production", "serving"),
}


def main() -> None:
    """Compile every lock from pyproject.toml."""
    for name, extras in LOCKS.items():
        chosen = [word for extra in extras for word in ("--extra", extra)]
        agree = ["--constraint", "requirements.lock"] if name != "requirements.lock" else []
        _compile(["pyproject.toml", *chosen, *agree, "--output-file", name])
    _compile(["-", "--output-file", "requirements-installer.lock", "--constraint", "requirements.lock"], "uv\n")
    # Only what Spark adds: everything else comes from requirements.lock.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    spark = "\n".join(project["optional-dependencies"]["spark"])
    _compile(["-", "--output-file", "requirements-spark.lock"], spark + "\n")


def _compile(arguments: list[str], requirements: str | None = None) -> None:
    subprocess.run([*COMPILE, *OPTIONS, *arguments], cwd=ROOT, input=requirements, text=True, check=True)


if __name__ == "__main__":
    main()
