"""What the platform's own log tells of the policies to beat: decisions with their sales, in; values, out."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from feature_repo.transformations.panel import CELL
from feature_repo.transformations.season import season
from poplift.activation import NONE, Activation, parse_activation
from poplift.assignment import CHOSEN, EXPLORED
from poplift.assumptions import Assumptions
from poplift.confidence import Floats
from poplift.margin import margin_usd, placement_cost_usd, placement_costs_usd
from training.off_policy import policies
from training.off_policy.estimators import Log, OffPolicyError, Value, evaluate
from training.off_policy.reward_model import FOLDS, predict_rewards

HISTORY_WEEKS = 13
LEAST_OUTLETS = 10  # whole outlets are resampled: of fewer an interval tells little
LEAST_EFFECTIVE = 100  # decisions; a tenth of a short log passes as a share and is still next to nothing
SAME_CUT = 0.05  # share of the regular price; a cut further off is another activation
COMPARED = "compared"


@dataclass(frozen=True)
class PolicyValue:
    """Value of one policy per decision, in transactions and in USD of net margin, or why it is refused."""

    policy: str
    transactions: Value | None = None
    net_margin_usd: Value | None = None
    refused: str = ""


@dataclass(frozen=True)
class Valued:
    """Every policy's value, and what it stands on; `left_out` counts decisions by why they tell nothing of others."""

    decisions: int
    outlets: int
    weeks: int
    left_out: dict[str, int]
    followed: float  # share of the decisions whose recommendation is what ran
    budget: float  # share of the decisions that run something, by the log's own probabilities
    everything: str  # what the policy `all` runs
    assumptions: Assumptions
    policies: tuple[PolicyValue, ...]


@dataclass(frozen=True)
class _Outcome:
    reward: Floats  # (n,)
    predicted: Floats  # (n, K)


def value_policies(decisions: pd.DataFrame, cells: pd.DataFrame, *, assumptions: Assumptions, seed: int) -> Valued:
    """Value the policies to beat on decisions whose sales are known.

    `decisions`: one row per outlet, ppg and week, with activation, arm, candidates and propensities as the table
    `decisions` holds them. `cells`: the observed panel with week_start_day, of those weeks and HISTORY_WEEKS before.
    A value is of recommending, whatever outlets made of it; net margin is the margin of what was sold less the cost
    of what ran. Raises OffPolicyError where nothing else could have been drawn, or outlets or weeks are too few.
    """
    joined = decisions.merge(_with_history(cells), on=list(CELL), how="left")
    joined = joined.sort_values(["week", "outlet_id", "ppg_id"], ignore_index=True)
    pairs = zip(joined["candidates"], joined["propensities"], strict=True)
    logged = [dict(zip(json.loads(c), json.loads(p), strict=True)) for c, p in pairs]
    state, names = _sorted_out(joined, logged)
    left_out = {str(why): int(count) for why, count in state[state != COMPARED].value_counts().items()}
    rows = joined[state == COMPARED].reset_index(drop=True)
    _refuse_too_little(rows, left_out)
    log = Log(
        reward=rows["transactions"].to_numpy(np.float64),
        chosen=rows["activation"].map(names.index).to_numpy(np.intp),
        propensities=np.array([[logged[row][name] for name in names] for row in np.flatnonzero(state == COMPARED)]),
        outlet=rows["outlet_id"].to_numpy(),
        week=rows["week"].to_numpy(),
    )
    candidates = tuple(parse_activation(name) for name in names)
    everything = max(
        range(len(names)), key=lambda k: (candidates[k].display + candidates[k].mailer, candidates[k].price_cut)
    )
    budget = float(1 - log.propensities[:, 0].mean())
    outcomes = _outcomes(rows, log, candidates, assumptions=assumptions, seed=seed)
    compared = _policies(rows, log, budget=budget, everything=everything)
    return Valued(
        decisions=len(rows),
        outlets=rows["outlet_id"].nunique(),
        weeks=rows["week"].nunique(),
        left_out=left_out,
        followed=_followed(rows, [candidates[k] for k in log.chosen]),
        budget=budget,
        everything=names[everything],
        assumptions=assumptions,
        policies=tuple(_value(name, log, policy, outcomes, seed=seed) for name, policy in compared.items()),
    )


def _sorted_out(joined: pd.DataFrame, logged: list[dict[str, float]]) -> tuple["pd.Series[str]", list[str]]:
    """Why each decision is left out, or COMPARED, and the candidates of those compared, `none` first.

    Nothing here looks at what was drawn or sold: leaving out by either would bend what is left.
    """
    state = pd.Series(COMPARED, index=joined.index)
    state[[min(of.values()) <= 0 or NONE.name not in of for of in logged]] = "nothing else could have been drawn"
    state[~joined["arm"].isin([CHOSEN, EXPLORED])] = "decided by the holdout or an experiment"
    state[joined["transactions"].isna()] = "sales or price of its week are not known"
    drawn = np.flatnonzero(state == COMPARED)
    names = sorted(logged[drawn[-1]], key=lambda name: name != NONE.name) if len(drawn) else []
    others = pd.Series([of.keys() != set(names) for of in logged], index=joined.index)
    state[(state == COMPARED) & others] = "drawn among other candidates than the newest"
    return state, names


def _refuse_too_little(rows: pd.DataFrame, left_out: dict[str, int]) -> None:
    told = "; ".join(f"{count:,}: {why}" for why, count in left_out.items()) or "none was left out"
    if rows.empty:
        raise OffPolicyError(
            f"off-policy: no decision of the log was drawn at random and has its sales in ({told}). Explore, by the "
            "policy's exploration_share, and wait for the weeks to close; or test in an experiment"
        )
    outlets, weeks = rows["outlet_id"].nunique(), rows["week"].nunique()
    if outlets < LEAST_OUTLETS or weeks < FOLDS:
        raise OffPolicyError(
            f"off-policy: {len(rows):,} decisions of {outlets} outlets in {weeks} weeks; at least {LEAST_OUTLETS} "
            f"outlets and {FOLDS} weeks are needed ({told})"
        )


def _with_history(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with what was known of each before its week; NaN where nothing was."""
    ordered = cells.sort_values(list(CELL), ignore_index=True)
    before = ordered.groupby(["outlet_id", "ppg_id"], sort=False)[
        ["transactions", "display", "mailer", "price_cut"]
    ].shift()
    pair = [ordered["outlet_id"], ordered["ppg_id"]]
    known = before.add_prefix("last_")
    for weeks in (HISTORY_WEEKS, 4):
        rolled = before["transactions"].groupby(pair, sort=False).rolling(weeks, min_periods=1).mean()
        known[f"mean_{weeks}"] = rolled.to_numpy()  # in the order of the cells: they are sorted by pair
    known["ppg"] = pd.factorize(ordered["ppg_id"], sort=True)[0]
    for name, values in season(ordered["week_start_day"].to_numpy()).items():
        known[name] = values
    return pd.concat([ordered, known.add_prefix("known_")], axis=1)


def _outcomes(
    rows: pd.DataFrame, log: Log, candidates: tuple[Activation, ...], *, assumptions: Assumptions, seed: int
) -> tuple[_Outcome, _Outcome]:
    """Transactions, and net margin: what is predicted of it is units at base price, which is at least zero."""
    context = rows.filter(like="known_").assign(price=rows["base_price"]).to_numpy(np.float64)
    units, price, cut, display, mailer = (
        rows[name].to_numpy(np.float64) for name in ("units", "base_price", "price_cut", "display", "mailer")
    )

    def predicted(reward: Floats) -> Floats:
        return predict_rewards(context, log.chosen, reward, log.week, candidates=candidates, seed=seed)

    cuts = np.array([candidate.price_cut for candidate in candidates])
    earned = margin_usd(units, base_price=price, price_cut=cut, assumptions=assumptions)
    at_base_price = predicted(units * price)
    would_earn = margin_usd(at_base_price, base_price=np.ones(1), price_cut=cuts, assumptions=assumptions)
    return (
        _Outcome(log.reward, predicted(log.reward)),
        _Outcome(
            earned - placement_cost_usd(display, mailer, assumptions=assumptions),
            would_earn - placement_costs_usd(candidates, assumptions=assumptions),
        ),
    )


def _policies(rows: pd.DataFrame, log: Log, *, budget: float, everything: int) -> dict[str, Floats]:
    n, k = log.propensities.shape
    plan = pd.Series(log.propensities.argmax(axis=1))
    # the plan before this one for the same outlet and ppg; where there is none yet, its own
    last = plan.groupby([rows["outlet_id"], rows["ppg_id"]]).shift().fillna(plan).to_numpy(np.intp)
    volume = rows[f"known_mean_{HISTORY_WEEKS}"].fillna(0.0).to_numpy(np.float64)
    return {
        "as logged": log.propensities,
        "none": policies.none(n, candidates=k),
        "random at budget": policies.random_at_budget(n, candidates=k, budget=budget),
        "volume-ranked": policies.volume_ranked(volume, log.week, candidates=k, budget=budget, on=everything),
        "last plan": policies.always(last, candidates=k),
        "all": policies.all_on(n, candidates=k, on=everything),
    }


def _value(name: str, log: Log, policy: Floats, outcomes: tuple[_Outcome, _Outcome], *, seed: int) -> PolicyValue:
    try:
        transactions, net = (
            evaluate(replace(log, reward=of.reward), policy, of.predicted, seed=seed) for of in outcomes
        )
    except OffPolicyError as error:
        return PolicyValue(name, refused=str(error))
    effective = transactions.effective_share * len(log.reward)
    if effective < LEAST_EFFECTIVE:
        return PolicyValue(
            name,
            refused=f"off-policy: the effective sample is {effective:.0f} decisions, at least {LEAST_EFFECTIVE} are "
            "needed. Wait for more weeks, or explore more",
        )
    return PolicyValue(name, transactions, net)


def _followed(rows: pd.DataFrame, recommended: list[Activation]) -> float:
    display, mailer, cut = (
        np.array([getattr(one, name) for one in recommended]) for name in ("display", "mailer", "price_cut")
    )
    as_said = (display == (rows["display"] > 0)) & (mailer == (rows["mailer"] > 0))
    return float((as_said & (np.abs(cut - rows["price_cut"]) <= SAME_CUT)).mean())
