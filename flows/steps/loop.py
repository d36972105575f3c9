"""Step: play the closed loop on the simulated market and write its page."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.loop.conduct import LoopResult, run_loop
from flows.loop.feed import LakeFeed
from flows.loop.learning import learner
from flows.loop.page import write_page
from flows.loop.parameters import LoopParameters
from flows.steps.progress import Progress, silent
from monitoring.index_page import list_report
from poplift.assumptions import Assumptions
from poplift.settings import Settings
from poplift.sources.market.environment import Market

PAGE = "loop.html"


@dataclass(frozen=True)
class Looped:
    """What came out, what came in, and where the page is."""

    result: LoopResult
    rows_in: int
    rows_quarantined: int
    page: Path


def play_loop(settings: Settings, progress: Progress = silent, *, seed: int, weeks: int, outlets: int) -> Looped:
    """Simulated weeks through contracts and lake; the same arguments give the same page."""
    parameters = LoopParameters(outlets=outlets, weeks=weeks)
    folder = settings.home / "loop"
    shutil.rmtree(folder, ignore_errors=True)  # a market of its own: nothing in it is the platform's data
    feeds: list[LakeFeed] = []

    def feed(market: Market) -> LakeFeed:
        feeds.append(LakeFeed(market, folder, soiled=parameters.soiled))
        return feeds[0]

    assumptions = Assumptions()
    learn = learner(assumptions=assumptions, seed=seed, threads=settings.threads)
    result = run_loop(parameters, seed=seed, feed=feed, learn=learn, assumptions=assumptions, progress=progress)
    sent = feeds[0]
    said = (
        f"{sent.rows_in:,} simulated rows came in, {parameters.share_late():.0%} of the POS lines two weeks late; "
        f"{sent.rows_quarantined:,} were broken or came twice and are quarantined."
    )
    page = settings.reports_dir / PAGE
    write_page(result, page, assumptions=assumptions, feed=said)
    list_report(settings.reports_dir, PAGE)
    return Looped(result, sent.rows_in, sent.rows_quarantined, page)
