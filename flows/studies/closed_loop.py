"""S8: does the whole loop earn its keep, and does its own experiment say so rightly."""

from dataclasses import dataclass

from flows.loop.conduct import run_loop
from flows.loop.feed import DirectFeed
from flows.loop.learning import learner
from flows.loop.parameters import LoopParameters
from flows.steps.progress import Progress, silent
from flows.studies.each_seed import each_seed
from flows.studies.study import Study, at_least, covers, mean_figure, rate_figure
from poplift.assumptions import Assumptions

# smaller and without the lake, so that many can be played; `make loop` is the whole thing once
SMALL = LoopParameters(outlets=100, own_ppgs=4, history_weeks=40, weeks=26, refit_every=6, faults=())
GOAL = 0.05
HELD = ("net_margin_usd", "transactions")


@dataclass(frozen=True)
class Played:
    """Of one loop: true relative changes, share of the budget spent, and the metrics whose interval held the truth.

    `beside` is the change of net margin in the outlets left to account managers.
    """

    gain: float
    beside: float
    transactions: float
    spent: float
    held: tuple[str, ...]


def play(seed: int) -> Played:
    """One loop on the market of a seed."""
    assumptions = Assumptions()
    learn = learner(assumptions=assumptions, seed=seed)
    result = run_loop(SMALL, seed=seed, feed=DirectFeed, learn=learn, assumptions=assumptions)
    margin, sold = result.of("net_margin_usd"), result.of("transactions")
    return Played(
        gain=result.relative,
        beside=margin.beside / margin.status_quo,
        transactions=sold.truth / sold.status_quo,
        spent=result.spent_usd / result.budget_usd,
        held=tuple(metric for metric in HELD if result.of(metric).holds_truth),
    )


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """`runs` loops on markets of their own: true gain over the status quo, and whether the interval holds it."""
    played = list(each_seed(play, seed=seed, runs=runs, progress=progress))
    names = ("gain", "beside", "transactions", "spent")
    gains, beside, transactions, spent = ([getattr(one, name) for one in played] for name in names)
    held = {metric: sum(metric in one.held for one in played) for metric in HELD}
    gain = mean_figure("true gain in net margin over the status quo", gains, unit="%")
    return Study(
        "S8",
        "The closed loop",
        "Does the platform earn more than account managers at no larger budget, and does its experiment say so?",
        (
            at_least(gain, GOAL, said=f"{GOAL:.0%}"),
            covers(rate_figure("interval of net margin holds the truth", held["net_margin_usd"], runs, unit="%"), 0.95),
            covers(rate_figure("interval of transactions holds the truth", held["transactions"], runs, unit="%"), 0.95),
            mean_figure("true change in transactions", transactions, unit="%"),
            mean_figure("net margin that outlets left to account managers gained beside it", beside, unit="%"),
            mean_figure("spent, price cuts included, of the budget", spent, unit="%"),
        ),
        f"Simulated: {SMALL.outlets} outlets x {SMALL.own_ppgs} ppgs, {SMALL.history_weeks} weeks of history, "
        f"{SMALL.weeks} weeks played, {SMALL.held_out:.0%} of the outlets left to account managers, effects learned "
        f"every {SMALL.refit_every} weeks. The budget is what account managers spent before, price cuts included. "
        "Account managers answer to the sales of the whole chain, so a little of the gain reaches the outlets left to "
        "them; the experiment cannot see that part and says as much less.",
    )
