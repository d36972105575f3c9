"""Step: choose the activations of the coming week from the effect table, and leave a table and a page of them."""

from dataclasses import dataclass
from pathlib import Path

from ibis import _
from pydantic import ValidationError

from flows.steps.progress import Progress, silent
from monitoring.index_page import list_report
from poplift.lake import Lake, LakeError
from poplift.market_week import decided_week
from poplift.settings import Settings
from serving.current import current_policy
from serving.exploration import held_out
from serving.online import FeastReader
from serving.planner.conflicts import NO_BUDGET
from serving.planner.effect_files import effects_path, read_effects
from serving.planner.effects import EffectTable, age_note
from serving.planner.explain import Explained, Line
from serving.planner.publish import write_page, write_table
from serving.planner.recency import weeks_since_activation
from serving.planner.rules import PlanRules
from serving.planner.summary import Summary, summary_of
from serving.planner.week import plan_week

TOP_LINES = 10
SHOWN_NAMES = 20


class RulesError(Exception):
    """A file of rules cannot be used; the message names the file, the place and what is wrong."""


@dataclass(frozen=True)
class PlannedWeek:
    """The plan of a week as it was left: its figures, the most valuable lines, its table and its page."""

    summary: Summary
    top: tuple[Line, ...]
    table: Path
    page: Path
    age_note: str | None = None

    @property
    def headline(self) -> str:
        """One sentence: what is spent and what it should bring."""
        summary = self.summary
        if summary.budget_usd is None:
            return f"Nothing is planned: {NO_BUDGET}"
        low, high = (bound - summary.cost_usd for bound in summary.incremental_margin_usd[1:])
        return (
            f"{summary.lines:,} activations in {summary.outlets:,} outlets for {summary.cost_usd:,.2f} of "
            f"{summary.budget_usd:,.2f} USD; they should bring {summary.net_value_usd:,.2f} USD net "
            f"({low:,.2f} to {high:,.2f}), at most {summary.gap_share:.4%} short of the best possible; another dollar "
            f"would bring {summary.shadow_price:.2f}"
        )

    @property
    def notes(self) -> list[str]:
        """What the plan stands on, what was left out, and why."""
        summary = self.summary
        fitted = summary.effects_fitted_at
        said = [f"effects as of {fitted:%Y-%m-%d}"] if fitted else []
        said += [self.age_note] if self.age_note else []
        said += [
            f"{count:,} outlet and ppg pairs do not run: {why.replace('_', ' ')}"
            for why, count in summary.not_run.items()
        ]
        said += [
            f"{count:,} rows of the effect table were not used: {why}" for why, count in summary.refused_rows.items()
        ]
        if missing := summary.missing_outlets:
            more = f" and {len(missing) - SHOWN_NAMES} more" if len(missing) > SHOWN_NAMES else ""
            said.append(
                f"outlets without effects, for which nothing is planned: {', '.join(missing[:SHOWN_NAMES])}{more}"
            )
        return said


def read_rules(path: Path | None, *, budget_usd: float | None) -> PlanRules:
    """Rules of a JSON file in the form of POST /v1/plan, with this budget if one is given; raises RulesError."""
    try:
        rules = PlanRules.model_validate_json(path.read_bytes()) if path else PlanRules()
        if budget_usd is None:
            return rules
        return PlanRules.model_validate({**rules.model_dump(), "budget_usd": budget_usd})
    except OSError as error:
        raise RulesError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors())
        raise RulesError(f"{path or '--budget'}: {said}") from error


def plan_coming_week(settings: Settings, progress: Progress = silent, *, rules: PlanRules | None = None) -> PlannedWeek:
    """Write plans_dir/…/plan-….parquet and reports_dir/plan.html; the same inputs give the same files.

    Without a budget in the rules nothing is planned, and for the outlets of the permanent holdout nothing ever.
    Raises EffectTableError, InfeasiblePlanError, PlanningError and ReleaseError, and what the online store raises where
    a minimum gap asks for the past.
    """
    rules = rules or PlanRules()
    as_of = settings.now()
    progress("reading the effect table")
    table = read_effects(effects_path(settings.features_dir), as_of=as_of)
    since = None
    if rules.minimum_gap_weeks:
        progress("reading last activations")
        since = weeks_since_activation(FeastReader(settings), _pairs(table), business_time=as_of)
    progress("choosing")
    kept_out = held_out(table.outlet_ids, policy=current_policy(settings.releases_dir))
    plan = plan_week(table, rules, held_out=kept_out, expected_outlets=_managed(settings, progress), weeks_since=since)
    explained = Explained(plan)
    summary = summary_of(plan, explained)
    progress("writing table and page")
    week = decided_week(as_of)
    page = write_page(plan, explained, summary, week_start=week, now=as_of, into=settings.reports_dir)
    list_report(settings.reports_dir, page.name)
    return PlannedWeek(
        summary=summary,
        top=tuple(explained.lines(explained.running()[:TOP_LINES])),
        table=write_table(plan, explained, summary, week_start=week, into=settings.plans_dir),
        page=page,
        age_note=age_note(table.fitted_at, now=as_of),
    )


def _pairs(table: EffectTable) -> list[tuple[str, str]]:
    pairs = sorted(set(zip(table.outlet.tolist(), table.ppg.tolist(), strict=True)))
    return [(table.outlet_ids[outlet], table.ppg_ids[ppg]) for outlet, ppg in pairs]


def _managed(settings: Settings, progress: Progress) -> list[str]:
    """Outlets that a plan is expected for; none where there is no lake to say so."""
    try:
        outlets = Lake(settings.lake_dir, threads=settings.threads).read("outlets", as_of=settings.now())
        managed: list[str] = outlets.filter(_.is_managed).select("outlet_id").to_pyarrow()["outlet_id"].to_pylist()
    except LakeError as error:
        progress(f"outlets without effects cannot be named: {error}")
        return []
    return managed
