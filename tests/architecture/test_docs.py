"""The documents tell the truth: settings, sub-commands, commands and links they name exist, and none is missing."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from poplift.settings import Settings

TOOLS = {
    "git",
    "cd",
    "cp",
    "curl",
    "docker",
    "echo",
    "export",
    "psql",
    "redis-cli",
    "python3",
    "open",
    ".ci/run",
    "source",
    "tr",
}
FEAST = {"apply", "plan", "materialize", "materialize-incremental", "ui", "feature-views", "entities", "teardown"}


@pytest.fixture(scope="session")
def pages(texts: dict[Path, str]) -> dict[Path, str]:
    """README and every page of the documentation."""
    return {f: t for f, t in texts.items() if f.suffix == ".md"}


@pytest.fixture(scope="session")
def sub_commands() -> dict[str, str]:
    """Every sub-command of `poplift` with its help, groups as "group command"."""
    typer_main = importlib.import_module("typer.main")
    command = typer_main.get_command(importlib.import_module("flows.cli").app)

    def walk(prefix: str, group: object) -> Iterator[tuple[str, str]]:
        for name, child in getattr(group, "commands", {}).items():
            if getattr(child, "commands", None):
                yield from walk(f"{prefix}{name} ", child)
            else:
                yield f"{prefix}{name}", child.help or ""

    return dict(walk("", command))


@pytest.fixture(scope="session")
def make_targets(root: Path) -> set[str]:
    """Targets of the Makefile."""
    return set(re.findall(r"^([a-z][\w-]*)\s*:(?!=)", (root / "Makefile").read_text(), re.MULTILINE))


def shell_lines(pages: dict[Path, str]) -> Iterator[tuple[str, list[str]]]:
    """Every command of the ```sh blocks, as where it stands and its words."""
    for page, text in pages.items():
        for block in re.finditer(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block[1].replace("\\\n", " ").splitlines():
                for command in re.split(r"\s(?:&&|\|)\s", line):
                    words = shlex.split(command, comments=True)
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words = words[1:]
                    if words:
                        yield f"{page}: {command.strip()}", words


def known(words: list[str], make_targets: set[str], sub_commands: dict[str, str]) -> bool:
    """True when the command is one that a reader of the page has."""
    inner = next((i for i, word in enumerate(words) if words[0] == "docker" and word == "poplift"), 0)
    words = words[inner:]
    tool, arguments = words[0].removeprefix(".venv/bin/"), [w for w in words[1:] if not w.startswith("-")]
    if tool == "make":
        return {w for w in arguments if "=" not in w} <= make_targets
    if tool == "poplift":
        return not arguments or any(" ".join(arguments).startswith(name) for name in sub_commands)
    if tool == "feast":
        return bool(FEAST & set(arguments))
    return tool in TOOLS | {"prefect", "pytest", "python", "source", "uv"}


def test_every_command_in_the_docs_is_one_a_reader_has(
    pages: dict[Path, str], make_targets: set[str], sub_commands: dict[str, str]
) -> None:
    lines = list(shell_lines(pages))
    assert len(lines) > 5
    assert [where for where, words in lines if not known(words, make_targets, sub_commands)] == []


def test_every_sub_command_is_documented_with_its_own_help(root: Path, sub_commands: dict[str, str]) -> None:
    page = (root / "docs/reference/commands.md").read_text()
    rows = dict(re.findall(r"^\| `poplift ([a-z -]+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows == {name: said.splitlines()[0] for name, said in sub_commands.items() if said}
    assert len(rows) == len(sub_commands)


def test_every_make_target_explains_itself(root: Path, make_targets: set[str]) -> None:
    explained = set(re.findall(r"^([a-z][\w-]*)\s*:.*## \w", (root / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "test-slow", "up", "clean", "help", "check"} <= explained
    assert explained <= make_targets


def test_every_setting_is_documented_with_its_description(root: Path) -> None:
    page = (root / "docs/reference/settings.md").read_text()
    rows = dict(re.findall(r"^\| `(POPLIFT_[A-Z_]+)` \| .*? \| (.*) \|$", page, re.MULTILINE))
    fields = {f"POPLIFT_{name.upper()}": field.description for name, field in Settings.model_fields.items()}
    assert rows == fields


def test_every_document_is_in_the_index_of_its_folder(root: Path, files: list[Path]) -> None:
    lost = [
        str(page)
        for page in files
        if page.suffix == ".md" and page.parts[0] == "docs" and page.name != "README.md"
        for index in [next(p / "README.md" for p in page.parents if (root / p / "README.md").exists())]
        if f"({page.relative_to(index.parent)})" not in (root / index).read_text()
    ]
    assert not lost, "no index names " + ", ".join(lost)


def test_every_link_inside_the_repository_leads_somewhere(root: Path, pages: dict[Path, str]) -> None:
    broken = [
        f"{page}: {target}"
        for page, text in pages.items()
        for target in re.findall(
            r"\]\((?!https?://|#|mailto:)([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        )
        if not (root / page.parent / target).exists()
    ]
    assert not broken, "\n".join(broken)


def test_every_fault_of_the_table_names_tests_that_are_there(root: Path, pages: dict[Path, str]) -> None:
    rows = [line for line in pages[Path("docs/reference/faults.md")].splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row) for row in rows]
    assert len(rows) > 20
    assert all(named), "a fault without a test"
    missing = [
        f"{file}::{test}"
        for file, test in (name for names in named for name in names)
        if not (root / file).exists() or f"def {test}(" not in (root / file).read_text()
    ]
    assert missing == []


def test_every_package_is_explained_in_the_readme(root: Path, packages: tuple[str, ...]) -> None:
    readme = (root / "README.md").read_text()
    assert [p for p in packages if f"`{p}/`" not in readme and f"{p}/" not in readme] == []


def test_decision_records_are_numbered_without_a_gap(root: Path) -> None:
    records = sorted(p.name for p in (root / "docs/decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in records] == list(range(len(records)))


def test_every_alert_has_a_runbook(root: Path) -> None:
    rules = (root / "infra/prometheus/alerts.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    runbooks = re.findall(r"runbook: (\S+)", rules)
    assert len(alerts) == len(runbooks) > 0
    assert [path for path in runbooks if not (root / path).exists()] == []
