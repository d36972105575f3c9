"""Study S6: the value of policies that did not run, estimated from a simulated platform's log and held to the truth."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flows.steps.progress import Progress, silent
from flows.studies.study import Figure, Study, at_most, covers, mean_figure, rate_figure
from poplift.activation import CANDIDATES
from poplift.assignment import propensities
from poplift.confidence import Floats
from poplift.sources.market import observed
from poplift.sources.market.environment import Market
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import truth_of
from training.off_policy import policies
from training.off_policy.estimators import Log, OffPolicyError, evaluate
from training.off_policy.reward_model import predict_rewards

WARM_UP, LOGGED = 13, 52  # weeks of account managers, then of the platform
EXPLORATION, BUDGET = 0.10, 0.10
EVERYWHERE = len(CANDIDATES) - 1  # display, mailer and a cut of 20 %
MARKET = MarketParameters(outlets=400, weeks=WARM_UP + LOGGED, exploration=0.1, is_censored=False)
K = len(CANDIDATES)
NEAR = 0.03


@dataclass(frozen=True)
class Played:
    """A log with what its decisions knew, the truth of every candidate, and the policies to be valued."""

    log: Log
    context: Floats
    truth: Floats
    policies: dict[str, Floats]


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Value five policies in `runs` markets; one whose effective sample is too small must be refused, not valued."""
    errors: dict[str, list[float]] = defaultdict(list)
    covered: dict[str, list[bool]] = defaultdict(list)
    refused: dict[str, list[bool]] = defaultdict(list)
    others: dict[str, list[float]] = defaultdict(list)
    for number in range(runs):
        played = play(seed + number)
        predicted = predict_rewards(
            played.context, played.log.chosen, played.log.reward, played.log.week, seed=seed + number
        )
        for name, policy in played.policies.items():
            true = float((policy * played.truth).sum(axis=1).mean())
            try:
                found = evaluate(played.log, policy, predicted, draws=400, seed=seed + number)
            except OffPolicyError:
                refused[name].append(True)
                continue
            refused[name].append(False)
            errors[name].append(found.doubly_robust.estimate / true - 1)
            covered[name].append(found.doubly_robust.low <= true <= found.doubly_robust.high)
            others["SNIPS"].append(found.self_normalised.estimate / true - 1)
            others["switch-DR"].append(found.switch.estimate / true - 1)
            others["predicted rewards alone"].append(float((policy * predicted).sum(axis=1).mean()) / true - 1)
        progress(f"{number + 1} of {runs} markets")
    return Study(
        id="S6",
        title="Off-policy value",
        question="Does the log of one policy tell what another would have brought, and say when it does not?",
        figures=(*_judged(errors, covered), *_refusals(refused), *_beside(others)),
        note=(
            f"Simulated: {MARKET.outlets} outlets, {LOGGED} weeks of a plan at a {BUDGET:.0%} budget with "
            f"{EXPLORATION:.0%} exploration over {K} candidates. Value is expected transactions of a cell in its week, "
            "everything around it as it happened; shelves do not run empty here (S3). Truth is that of the same cells. "
            "Intervals count what the reward model misses of an outlet as its noise, so they hold more often than they "
            "say for a policy close to the logged one."
        ),
    )


def _judged(errors: dict[str, list[float]], covered: dict[str, list[bool]]) -> list[Figure]:
    figures = []
    for name, found in errors.items():
        sizes = mean_figure(f"{name}: mean |error| of DR", np.abs(found))
        figures.append(at_most(sizes, NEAR, said=f"{NEAR:.0%}") if len(found) > 1 else sizes)
        rate = rate_figure(f"{name}: 95 % interval holds the truth", sum(covered[name]), len(found))
        figures.append(covers(rate, 0.95))
    return figures


def _refusals(refused: dict[str, list[bool]]) -> list[Figure]:
    figures = []
    for name, found in refused.items():
        rate = rate_figure(f"{name}: refused, effective sample below 10 %", sum(found), len(found))
        must = name == "all"
        figures.append(replace(rate, goal="always", is_met=all(found)) if must else rate)
    return figures


def _beside(others: dict[str, list[float]]) -> list[Figure]:
    return [
        mean_figure(f"{name}: mean |error| over the same policies", np.abs(found)) for name, found in others.items()
    ]


def play(seed: int, parameters: MarketParameters = MARKET) -> Played:
    """A market in which the platform plans after the warm-up, explores, and logs what it does."""
    market = Market(parameters, seed)
    random = np.random.default_rng([seed, 6])
    shape = (parameters.outlets, parameters.own_ppgs)
    known, chosen, logged, plans = [], [], [], []
    for week in range(1, parameters.weeks + 1):
        if week > WARM_UP:
            plan = _plan(market)
            probabilities = np.array([propensities(k, candidates=K, share=EXPLORATION) for k in range(K)])[plan]
            drawn = random.uniform(size=shape) < EXPLORATION
            run = np.where(drawn, random.integers(K, size=shape), plan)
            market.act(run, propensity=np.take_along_axis(probabilities, run[..., None], axis=2)[..., 0])
            known.append(_context(market))
            chosen.append(run)
            logged.append(probabilities)
            plans.append(plan)
        market.step()
    return _logged(market, known, chosen, logged, plans)


def _logged(
    market: Market,
    known: list[Floats],
    chosen: list[NDArray[np.intp]],
    logged: list[Floats],
    plans: list[NDArray[np.intp]],
) -> Played:
    own, n = market.parameters.own_ppgs, market.parameters.outlets
    rows = n * own * LOGGED
    played = market.history[WARM_UP:]
    weeks = np.repeat([p.week for p in played], n * own)
    coupons = np.concatenate([p.coupon[:, :own].ravel() for p in played])
    context = np.column_stack([np.concatenate(known), coupons])
    log = Log(
        reward=np.concatenate([p.transactions[:, :own].ravel() for p in played]).astype(np.float64),
        chosen=np.concatenate([c.ravel() for c in chosen]),
        propensities=np.concatenate([p.reshape(-1, K) for p in logged]),
        outlet=np.tile(np.repeat(np.arange(n), own), LOGGED),
        week=weeks,
    )
    truth = truth_of(market).mean[:, :, WARM_UP:].transpose(2, 0, 1, 3).reshape(rows, K)
    last = np.concatenate([plans[max(week - 1, 0)].ravel() for week in range(LOGGED)])
    return Played(
        log,
        context,
        truth,
        {
            "none": policies.none(rows, candidates=K),
            "random at budget": policies.random_at_budget(rows, candidates=K, budget=BUDGET),
            "last plan": policies.always(last, candidates=K),
            "volume-ranked": policies.volume_ranked(context[:, 0], weeks, candidates=K, budget=BUDGET, on=EVERYWHERE),
            "all": policies.all_on(rows, candidates=K, on=EVERYWHERE),
        },
    )


def _plan(market: Market) -> NDArray[np.intp]:
    """The plan that is logged: the cells that sold most of late and have coolers run everything, the rest nothing."""
    score = _recent(market, 8) * (1 + 0.2 * market.world.coolers[:, None])
    threshold = np.quantile(score, 1 - BUDGET)
    return np.where(score > threshold, EVERYWHERE, 0)


def _recent(market: Market, weeks: int) -> Floats:
    own = market.parameters.own_ppgs
    mean: Floats = np.mean([played.transactions[:, :own] for played in market.history[-weeks:]], axis=0)
    return mean


def _context(market: Market) -> Floats:
    """What was known before the week, (outlets x own ppgs, d), sales of the last 13 weeks first."""
    own, n, week = market.parameters.own_ppgs, market.parameters.outlets, market.week
    season = observed.calendar(market).iloc[week - 1]
    outlets = observed.outlets(market)
    columns = [_recent(market, weeks) for weeks in (13, 4, 1)]
    for past in (market.history[-1], market.history[-2]):
        columns += [a[:, :own] for a in (past.plan.display, past.plan.mailer, past.plan.price_cut)]
    columns += [np.tile(outlets[name].to_numpy()[:, None], (1, own)) for name in ("size", "income", "coolers")]
    columns += [np.tile(np.arange(own, dtype=np.float64), (n, 1))]
    columns += [np.full((n, own), float(season[name])) for name in ("season_sin", "season_cos", "holiday")]
    return np.column_stack([column.ravel() for column in columns])
