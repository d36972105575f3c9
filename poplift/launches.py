"""Launch records of experiments: who is in which arm, when and for what; written once and never changed."""

import os
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import uuid4

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from poplift.activation import Identifier, parse_activation
from poplift.assignment import CONTROL, TREATMENT

Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9-]*$")]
WEEKS_AFTER = 4  # what an activation brought is only known when the dip afterwards is in


class LaunchError(Exception):
    """An experiment cannot be launched or found; the message says which and what to do."""


class Launch(BaseModel):
    """One experiment as launched; control runs `none`, treatment the activation, for the ppgs and weeks named."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: Name
    activation: str
    ppg_ids: tuple[Identifier, ...] = Field(min_length=1)
    arms: dict[Identifier, Literal["control", "treatment"]]
    strata: dict[Identifier, str]
    share: float = Field(gt=0, lt=1, description="Probability with which an outlet was assigned to treatment.")
    first_week: int
    starts_on: date = Field(description="First local day of the first week.")
    weeks: int = Field(ge=1, le=52)
    weeks_after: int = Field(default=WEEKS_AFTER, ge=0, le=26)
    looks: Literal["weekly", "once"] = "weekly"
    detectable: float = Field(gt=0, description="Effect that the design finds in four of five cases.")
    launched_at: AwareDatetime

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if parse_activation(self.activation).name == "none":
            raise ValueError("the activation is none: there is nothing to test")
        if set(self.arms.values()) != {CONTROL, TREATMENT} or set(self.arms) != set(self.strata):
            raise ValueError("arms: both arms hold outlets, and every outlet has a stratum")
        return self

    @property
    def ends_on(self) -> date:
        """First local day after the last week with the activation."""
        return self.starts_on + timedelta(weeks=self.weeks)

    @property
    def observed_until(self) -> date:
        """First local day after the weeks in which the dip is watched."""
        return self.ends_on + timedelta(weeks=self.weeks_after)

    def runs(self, *, ppg_id: str, day: date) -> bool:
        """Whether the experiment decides the week that starts on `day` for the ppg."""
        return ppg_id in self.ppg_ids and self.starts_on <= day < self.ends_on


def launch(folder: Path, record: Launch) -> Launch:
    """Write the record once and return what is written; the same content again changes nothing.

    Raises LaunchError where the name is taken by other content, or another experiment decides for the same outlet,
    ppg and week.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        _refuse_overlap(folder, record)
        return _written_once(folder, record)


def _written_once(folder: Path, record: Launch) -> Launch:
    path, partial = folder / f"{record.name}.json", folder / f".{uuid4().hex}.partial"
    try:
        with partial.open("w") as file:
            file.write(record.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # unlike a rename it never replaces what is there
    except FileExistsError:
        written = read_launch(folder, record.name)
        if _content(written) != _content(record):
            raise LaunchError(
                f"experiment {record.name} was launched at {written.launched_at:%Y-%m-%d %H:%M} UTC with other content "
                f"({', '.join(_differences(written, record))}). A launch is never changed: give the new one a new name"
            ) from None
        return written
    finally:
        partial.unlink(missing_ok=True)
    return record


def read_launch(folder: Path, name: str) -> Launch:
    """The record of that name; LaunchError that lists the launched ones otherwise, or for a file that is broken."""
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise LaunchError(f"no experiment {name} under {folder}; launched: {known}")
    try:
        return Launch.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise LaunchError(
            f"{path} is not a launch record: {error.errors()[0]['msg']}. Put it back from the backup"
        ) from error


def read_launches(folder: Path) -> list[Launch]:
    """Every launched experiment by name."""
    return [read_launch(folder, path.stem) for path in sorted(folder.glob("*.json"))]


def _refuse_overlap(folder: Path, record: Launch) -> None:
    for other in read_launches(folder):
        shared = set(other.ppg_ids) & set(record.ppg_ids) and set(other.arms) & set(record.arms)
        apart = other.observed_until <= record.starts_on or record.observed_until <= other.starts_on
        if other.name != record.name and shared and not apart:
            raise LaunchError(
                f"experiment {record.name}: {other.name} decides for {len(shared)} of its outlets and the same ppgs "
                f"and is watched until {other.observed_until}; start on that day or take other outlets"
            )


def _content(record: Launch) -> Mapping[str, object]:
    """All that defines an experiment: launching it again later is the same launch."""
    return record.model_dump(exclude={"launched_at"})


def _differences(written: Launch, record: Launch) -> list[str]:
    before, now = _content(written), _content(record)
    return [name for name in before if before[name] != now[name]]
