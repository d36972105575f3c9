"""The house rules of CONTRIBUTING.md that a linter cannot say, each with the place where it is broken."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "constants", "misc"}
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function of a module, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def overrides(node: Definition) -> bool:
    """True when typing.override says that the parent's docstring holds."""
    names = {d.id if isinstance(d, ast.Name) else getattr(d, "attr", "") for d in node.decorator_list}
    return bool(names & {"override", "overload", "setter"})


def test_every_module_opens_with_one_sentence(modules: dict[Path, ast.Module]) -> None:
    wrong = []
    for file, tree in modules.items():
        first = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
        if not first.endswith(".") or re.search(r"[.!?] [A-Z]", first):
            wrong.append(f"{file}: {first or 'no docstring'}")
    assert not wrong, "the first paragraph of a module is one sentence:\n" + "\n".join(wrong)


def test_every_public_function_and_class_says_what_it_does(modules: dict[Path, ast.Module]) -> None:
    silent = [
        f"{file}:{node.lineno} {node.name}"
        for file, tree in modules.items()
        for node in public(tree.body)
        if not ast.get_docstring(node) and not overrides(node)
    ]
    assert not silent, "without docstring:\n" + "\n".join(silent)


def test_a_file_is_read_in_one_sitting(files: list[Path], root: Path) -> None:
    sizes = {f: len((root / f).read_text().splitlines()) for f in files if f.suffix == ".py"}
    long = [f"{file}: {lines} lines" for file, lines in sizes.items() if lines > LONGEST_FILE]
    assert not long, f"longer than {LONGEST_FILE} lines:\n" + "\n".join(long)


def test_a_function_is_read_in_one_glance(modules: dict[Path, ast.Module]) -> None:
    long = [
        f"{file}:{node.lineno} {node.name}: {size} lines"
        for file, tree in modules.items()
        for node in functions(tree)
        if (size := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, f"longer than {LONGEST_FUNCTION} lines:\n" + "\n".join(long)


def test_there_is_no_drawer_for_odds_and_ends(files: list[Path]) -> None:
    drawers = [str(f) for f in files if f.suffix == ".py" and DRAWERS & {*f.parts[:-1], f.stem.strip("_")}]
    assert not drawers, "name these files for what they own: " + ", ".join(drawers)


def test_only_flows_and_benchmarks_print(files: list[Path], root: Path) -> None:
    talkers = [
        f"{file}:{node.lineno}"
        for file in files
        if file.suffix == ".py" and file.parts[0] not in {"flows", "benchmarks"}
        for node in ast.walk(ast.parse((root / file).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not talkers, "print belongs to flows and benchmarks: " + ", ".join(talkers)


def test_a_package_file_holds_only_its_docstring(modules: dict[Path, ast.Module]) -> None:
    full = [str(f) for f, tree in modules.items() if f.name == "__init__.py" and len(tree.body) != 1]
    assert not full, "importing a package must cost nothing: " + ", ".join(full)


def test_nothing_is_left_for_later(texts: dict[Path, str]) -> None:
    left = [
        f"{file}:{number}: {line.strip()[:80]}"
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not left, "\n".join(left)


def test_every_dependency_line_says_why_it_is_there(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    listed = text[text.index("\ndependencies = [") : text.index("[project.scripts]")]
    requirements = [line for line in listed.splitlines() if re.match(r'\s+"', line)]
    silent = [line.strip() for line in requirements if not re.search(r'",\s+# \S.*\w', line)]
    assert len(requirements) > 20
    assert not silent, "without a reason:\n" + "\n".join(silent)


@pytest.mark.parametrize("table", ["\nignore = [", "\nfilterwarnings = [", "lint.per-file-ignores]"])
def test_every_exception_to_a_rule_has_its_reason(root: Path, table: str) -> None:
    text = (root / "pyproject.toml").read_text()
    _, _, after = text.partition(table)
    assert after, f"no {table.strip()} in pyproject.toml"
    end = "\n[" if table.endswith("]") else "]" if after[: after.index("\n")].endswith("]") else "\n]"
    lines = after.split(end)[0].splitlines()[1:]
    silent, reason_above = [], False
    for line in lines:
        if re.match(r"\s*#", line):
            reason_above = True
        elif line.strip():
            if line.strip() != '"error",' and not reason_above and not re.search(r"# \S", line):
                silent.append(line.strip())
            reason_above = False
    assert not silent, "without a reason:\n" + "\n".join(silent)


def test_a_suppressed_finding_names_its_rule(texts: dict[Path, str]) -> None:
    bare = re.compile(r"#\s*(noqa(?!: [A-Z]+\d)|type: ignore(?!\[))")
    blanket = [
        f"{file}:{number}"
        for file, text in texts.items()
        if file.suffix == ".py" and file.name != "test_house.py"
        for number, line in enumerate(text.splitlines(), 1)
        if bare.search(line)
    ]
    assert not blanket, "say which rule is suppressed: " + ", ".join(blanket)


def test_every_test_is_named_by_the_rule_it_checks(files: list[Path], root: Path) -> None:
    short = [
        f"{file}:{node.lineno} {node.name}"
        for file in files
        if file.parts[0] == "tests" and file.name.startswith("test_")
        for node in functions(ast.parse((root / file).read_text()))
        if node.name.startswith("test_") and len(node.name.split("_")) < 5
    ]
    assert not short, "a test is named by a sentence:\n" + "\n".join(short)


def test_a_unit_test_is_found_where_its_module_is(files: list[Path], packages: tuple[str, ...]) -> None:
    folders = {f.parent for f in files if f.parts[0] in packages} | {Path()}
    unit = Path("tests/unit")
    astray = [str(f) for f in files if f.is_relative_to(unit) and f.parent.relative_to(unit) not in folders]
    assert not astray, "no folder of that name in the packages: " + ", ".join(astray)
