"""How the weeks are divided: the last thirteen are held out, the ones before are folds that only ever grow."""

from dataclasses import dataclass

import pandas as pd

HOLDOUT_WEEKS = 13
FIRST_TARGET_WEEK = 14  # thirteen weeks of history come first


@dataclass(frozen=True)
class Fold:
    """Train on weeks up to and including `train_through`, validate on the weeks after it through `validate_through`."""

    train_through: int
    validate_through: int

    def train(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of the weeks to learn from."""
        return frame[frame["week"] <= self.train_through]

    def validate(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of the weeks to judge on; every one of them later than every training row."""
        return frame[(frame["week"] > self.train_through) & (frame["week"] <= self.validate_through)]


def holdout_fold(frame: pd.DataFrame, *, weeks: int = HOLDOUT_WEEKS) -> Fold:
    """The final split. Raises ValueError when too few weeks would be left to learn from."""
    last = int(frame["week"].max())
    first = int(frame["week"].min())
    if last - weeks - first + 1 < weeks:
        raise ValueError(
            f"weeks {first} to {last}: holding out {weeks} leaves {max(0, last - weeks - first + 1)} to train on, "
            f"at least {weeks} are needed; ingest more history"
        )
    return Fold(train_through=last - weeks, validate_through=last)


def expanding_folds(*, first: int, last: int, count: int, horizon: int) -> tuple[Fold, ...]:
    """`count` folds of `horizon` validation weeks each, the last one ending at week `last`.

    Raises ValueError when the first fold would have no training week.
    """
    folds = tuple(
        Fold(train_through=last - horizon * step, validate_through=last - horizon * (step - 1))
        for step in range(count, 0, -1)
    )
    if folds[0].train_through < first:
        raise ValueError(f"{count} folds of {horizon} weeks do not fit between weeks {first} and {last}; ask for fewer")
    return folds
