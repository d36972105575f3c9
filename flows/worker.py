"""Beside a Prefect server: makes the work pool, deploys every flow of prefect.yaml, and works."""

import subprocess
import sys
import time

import httpx

from poplift.settings import REPOSITORY, child_environment, load_settings

POOL = "poplift"
WAIT_SECONDS = 120


def main() -> None:
    """Wait for the server, deploy, then become the worker."""
    from flows.up import prefect_environment

    settings = load_settings()
    environment = child_environment(settings, **prefect_environment(settings))
    prefect = [sys.executable, "-m", "prefect"]
    _wait(environment["PREFECT_API_URL"] + "/health")
    for arguments in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run(
            [*prefect, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"prefect {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    pages = environment["PREFECT_API_URL"].removesuffix("/api")
    sys.stdout.write(f"The flows of prefect.yaml are at {pages}/deployments\n")  # later than "The platform is up"
    sys.stdout.flush()
    worker = subprocess.Popen([*prefect, "worker", "start", "--pool", POOL], env=environment, cwd=REPOSITORY)
    try:
        sys.exit(worker.wait())
    except KeyboardInterrupt:
        worker.wait()


def _wait(address: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(address, timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    sys.exit(f"no Prefect server at {address} within {WAIT_SECONDS} s: start it with `make up`")


if __name__ == "__main__":
    main()
