"""The page of all studies, written from their answers and nothing else."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from flows.studies.study import Figure, Study
from poplift.atomic import write_whole

HEAD = """# Science: what is claimed, and what was seen

Written by `make science` from runs on the simulated market (`poplift/sources/market`), whose truth is known and hidden
from every model, and where it says so on The Complete Journey. Intervals are 95 %. One study alone:
`poplift study S2 --seed 1`; with fewer runs it is shown and not kept.

"""


def write_page(studies: Sequence[Study], path: Path) -> None:
    """One line per study, then every study with its figures."""
    lines = ["| id | question | state | runs |", "|---|---|---|---:|"]
    states = [study.state if study.state == "reached" else f"**{study.state}**" for study in studies]
    lines += [f"| {s.id} | {s.question} | {state} | {s.runs} |" for s, state in zip(studies, states, strict=True)]
    for study in studies:
        lines += [
            "",
            f"## {study.id} {study.title}",
            f"`poplift study {study.id} --seed {study.seed} --runs {study.runs}`",
            "",
        ]
        lines += ["| figure | value | 95 % interval | goal | |", "|---|---:|---:|---|---|"]
        lines += ["| " + " | ".join(figure_row(figure)) + " |" for figure in study.figures]
        lines += ["", study.note] if study.note else []
    write_whole(path, HEAD + "\n".join(lines) + "\n")


def said(value: float, unit: str) -> str:
    """A figure as people read it: shares in per cent."""
    if isnan(value):
        return ""
    return f"{value:.1%}" if unit == "%" else f"{value:.3g} {unit}".strip()


def figure_row(figure: Figure) -> list[str]:
    """Name, value, interval, goal and whether it was reached."""
    interval = "" if isnan(figure.low) else f"{said(figure.low, figure.unit)} to {said(figure.high, figure.unit)}"
    unjudged = "more runs needed" if figure.lacks_interval else ""
    state = {True: "reached", False: "not reached", None: unjudged}[figure.is_met]
    return [figure.name, said(figure.value, figure.unit), interval, figure.goal, state]
