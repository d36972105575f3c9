"""Runs every script of this folder; README.md is written from their results."""

import argparse
import subprocess
import sys

from page import HERE, SCRIPTS, write_page


def main(*, measure: bool) -> None:
    """Measure everything, unless the results at hand will do, then write the page."""
    for script in SCRIPTS if measure else ():
        subprocess.run([sys.executable, str(HERE / f"{script}.py")], check=True)
    write_page()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page-only", action="store_true", help="Write the page from the results at hand.")
    main(measure=not parser.parse_args().page_only)
