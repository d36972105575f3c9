"""One question, two releases: the champion or the challenger answers it, and the other may do so in the shadow."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from serving.challenger import Challenger
from serving.decide import Context, DemandResult, RecommendationResult, UnknownEntityError
from serving.online import Entity, FeatureReader, OnlineFeatures, StoreUnavailableError

R = TypeVar("R", DemandResult, RecommendationResult)


class NonFiniteError(Exception):
    """A release predicts what is no number."""


@dataclass(frozen=True)
class Decided(Generic[R]):
    """What a release decided, in how many milliseconds of the processor, and the release that may say so beside it.

    Where none stands beside it the time is not taken: that costs as much as a part of the answer.
    """

    context: Context
    result: R
    milliseconds: float = math.nan
    beside: Context | None = None


class KeptRead:
    """A reader that reads once: asked for the same entities again it gives what it read, or the failure it met."""

    def __init__(self, reader: FeatureReader) -> None:
        self._reader = reader
        self._kept: list[tuple[Sequence[Entity], OnlineFeatures | StoreUnavailableError]] = []

    @property
    def entities(self) -> int:
        """How many were read."""
        return sum(len(entities) for entities, _ in self._kept)

    def read(self, entities: Sequence[Entity]) -> OnlineFeatures:
        """Features of every entity; raises whatever the store raises."""
        found = next((read for asked, read in self._kept if asked == entities), None)
        if found is None:
            try:
                found = self._reader.read(entities)
            except StoreUnavailableError as error:
                found = error
            self._kept.append((entities, found))
        if isinstance(found, StoreUnavailableError):
            raise found
        return found


def decide(
    champion: Context,
    challenger: Challenger | None,
    outlets: Collection[str],
    how: Callable[[Context], R],
    *,
    stop: Callable[[str, str], None],
) -> Decided[R]:
    """Let the release answer whose turn it is; a challenger that cannot is stopped, and the champion answers.

    Raises UnknownEntityError and StoreUnavailableError.
    """
    if challenger is None or challenger.release.id == champion.release.id:
        return Decided(champion, how(champion))
    champion = replace(champion, reader=KeptRead(champion.reader))
    rival = replace(champion, release=challenger.release)
    if not challenger.answers(outlets):
        return Decided(champion, *measured(how, champion), beside=rival)
    try:
        return Decided(rival, *checked(how, rival), beside=champion)
    except StoreUnavailableError:
        raise
    except UnknownEntityError:
        pass  # it may consider other ppgs than the champion, who is asked whether there are none
    except Exception as error:  # noqa: BLE001 - whatever a challenger fails with, the request is answered
        stop(rival.release.id, failure(error))
    return Decided(champion, how(champion))


def measured(how: Callable[[Context], R], context: Context) -> tuple[R, float]:
    """A result, and the milliseconds of the processor it took.

    Waiting is no work: the store's time and that of other threads does not count, so two releases can be compared.
    """
    began = time.thread_time()
    result = how(context)
    return result, (time.thread_time() - began) * 1e3


def checked(how: Callable[[Context], R], context: Context) -> tuple[R, float]:
    """The same where all numbers must be finite; raises NonFiniteError."""
    with np.errstate(all="ignore"):  # what is no number is looked for at the end
        result, milliseconds = measured(how, context)
    said = result.predictions
    if not all(np.isfinite(values).all() for values in (said.transactions, said.units, said.low, said.high)):
        raise NonFiniteError(f"release {context.release.id} predicts what is no number")
    return result, milliseconds


def failure(error: Exception) -> str:
    """Why a challenger is stopped, in words."""
    said = "non-finite answer" if isinstance(error, NonFiniteError) else "scoring error"
    return f"{said}: {type(error).__name__}: {error}"[:500]
