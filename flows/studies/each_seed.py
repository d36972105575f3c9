"""Runs of a study that are alike but for their seed, spread over the processors."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from flows.steps.progress import Progress

Answer = TypeVar("Answer")
WORTH_A_POOL = 8  # fewer runs are over before the processes have imported what they need


def each_seed(play: Callable[[int], Answer], *, seed: int, runs: int, progress: Progress) -> Iterator[Answer]:
    """The answers of `play` to consecutive seeds, in their order; `play` is a function of a module."""
    seeds = range(seed, seed + runs)
    if runs < WORTH_A_POOL:
        for number, answer in enumerate(map(play, seeds), start=1):
            progress(f"{number} of {runs}")
            yield answer
        return
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for number, answer in enumerate(pool.map(play, seeds), start=1):
            progress(f"{number} of {runs}")
            yield answer
