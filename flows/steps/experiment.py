"""Steps: what an experiment could show, its launch, and what it showed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from flows.steps.progress import Progress, silent
from monitoring.experiments.design import WEEKS, Design, design
from monitoring.experiments.lake_evidence import evidence, outlet_weeks, strata
from monitoring.experiments.page import write_readout
from monitoring.experiments.readout import Readout, read_out
from monitoring.experiments.readout_table import table_row
from poplift import clock
from poplift.assignment import assign_arms
from poplift.assumptions import Assumptions
from poplift.contracts.check import check
from poplift.contracts.tables import contract
from poplift.decision_table import land_decisions
from poplift.lake import Lake, LakeError
from poplift.launches import Launch, LaunchError, launch, read_launch
from poplift.market_week import decided_week
from poplift.settings import Settings
from serving.current import current_policy
from serving.exploration import held_out

READOUTS = "readouts"
PAGES = "experiments"


@dataclass(frozen=True)
class Asked:
    """What somebody wants to test: a name, an activation, its ppgs, and which share of outlets gets it."""

    name: str
    activation: str
    ppg_ids: tuple[str, ...]
    share: float = 0.5
    wanted: float | None = None  # net transactions per outlet and week that would be worth it


@dataclass(frozen=True)
class Read:
    """A readout, its page, and whether the table of readouts learned something new."""

    readout: Readout
    page: Path
    is_new: bool


def design_experiment(settings: Settings, progress: Progress = silent, *, asked: Asked) -> Design:
    """The table of lengths and detectable effects; raises DesignError, EvidenceError and LakeError."""
    progress("sales of the portfolio")
    return _design(settings, settings.now(), asked)[0]


def launch_experiment(
    settings: Settings, progress: Progress = silent, *, asked: Asked, weeks: int, looks: str = "weekly"
) -> Launch:
    """Assign outlets and write the launch once; it starts with the week that is decided now.

    Raises LaunchError also where what is asked for is no experiment, or the effect that would be worth it cannot be
    found in so many weeks.
    """
    as_of = settings.now()
    lake = Lake(settings.lake_dir)
    progress("design")
    made, of = _design(settings, as_of, asked, weeks=(weeks,))
    row = made.rows[0]
    detectable = row.detectable if looks == "weekly" else row.detectable_once
    if asked.wanted is not None and detectable > asked.wanted:
        raise LaunchError(
            f"experiment {asked.name}: {weeks} weeks find effects from {detectable:.2f} a week on, and "
            f"{asked.wanted:g} is asked for. {made.advice} `poplift experiment design` shows other lengths"
        )
    progress("assignment")
    starts_on = decided_week(as_of)
    content = {
        "name": asked.name,
        "activation": asked.activation,
        "ppg_ids": asked.ppg_ids,
        "arms": assign_arms(of, experiment=asked.name, share=asked.share),
        "strata": of,
        "share": asked.share,
        "first_week": _week_number(lake, as_of, starts_on.isoformat()),
        "starts_on": starts_on,
        "weeks": weeks,
        "looks": looks,
        "detectable": detectable,
        "launched_at": clock.wall_now(),
    }
    try:
        record = Launch.model_validate(content)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors())
        raise LaunchError(f"experiment {asked.name!r} cannot be launched: {said}") from error
    return launch(settings.experiments_dir, record)


def read_experiment(settings: Settings, progress: Progress = silent, *, name: str) -> Read:
    """Look at an experiment as known now: page, JSON and a row of `readouts`; the same look again changes nothing."""
    record = read_launch(settings.experiments_dir, name)
    as_of = settings.now()
    lake = Lake(settings.lake_dir)
    progress("decisions of the log")
    land_decisions(settings.decisions_dir, lake)
    progress("outcomes")
    readout = read_out(record, evidence(lake, record, as_of=as_of, assumptions=Assumptions()))
    page = write_readout(settings.reports_dir / PAGES, readout, as_of=as_of, written_at=clock.wall_now())
    return Read(readout, page, _keep(lake, readout, as_of))


def _design(
    settings: Settings, as_of: datetime, asked: Asked, *, weeks: Sequence[int] = WEEKS
) -> tuple[Design, dict[str, str]]:
    """The design over the outlets outside the holdout of the served release, and their strata."""
    lake = Lake(settings.lake_dir)
    history = outlet_weeks(lake, asked.ppg_ids, as_of=as_of, assumptions=Assumptions())
    kept_out = held_out(history["outlet_id"].unique(), policy=current_policy(settings.releases_dir))
    history = history[~history["outlet_id"].isin(kept_out)]
    made = design(asked.name, history, share=asked.share, wanted=asked.wanted, weeks=weeks)
    return made, strata(lake, history, as_of=as_of)


def _week_number(lake: Lake, as_of: datetime, day: str) -> int:
    query = lake.query("weeks", as_of=as_of)
    found = lake.connection.execute(
        f"SELECT week FROM ({query}) WHERE starts_at >= ?::DATE AND starts_at < ?::DATE + 2", [day, day]
    ).fetchone()
    if found is None:
        raise LaunchError(f"the calendar has no week that starts on {day}; ingest a calendar that reaches further")
    return int(found[0])


def _keep(lake: Lake, readout: Readout, as_of: datetime) -> bool:
    """Add the readout to its table unless the newest row says the same; False when nothing was added."""
    row = table_row(readout, read_at=as_of)
    if row is None:
        return False
    known = contract(READOUTS)
    said = [name for name in known.column_names if name not in {"read_at", "created_at"}]
    if lake.parts(READOUTS):
        query = lake.query(READOUTS, as_of=as_of)
        before = lake.connection.execute(
            f"SELECT {', '.join(said)} FROM ({query}) WHERE experiment = ? AND weeks_observed = ?",
            [row["experiment"], row["weeks_observed"]],
        ).fetchone()
        if before == tuple(row[name] for name in said):
            return False
    lake.connection.register("new_readout", pa.Table.from_pylist([row]))
    checked = check(lake.connection, known, source="new_readout", known={}, as_of=as_of)
    broken = lake.connection.sql(checked.bad).fetchall()
    if broken:
        raise LakeError(f"table {READOUTS}: the readout breaks its own contract: {broken[0][:2]}")
    lake.append(READOUTS, checked.good)
    return True
