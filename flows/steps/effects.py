"""Step: estimate what activations add, write the effect table that Feast reads, and register the fit."""

import tempfile
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from flows.steps.features import initialise
from flows.steps.progress import Progress, silent
from monitoring.index_page import list_report
from poplift import alias_moves, feature_store, registry
from poplift.assumptions import Assumptions
from poplift.atomic import write_whole
from poplift.code_version import commit, source_digest
from poplift.contracts.tables import EVERY_CONTRACT
from poplift.feature_store import historical_features
from poplift.lake import Lake
from poplift.settings import Settings

if TYPE_CHECKING:
    from training.effects.lake_panel import Reports
    from training.effects.learn import Effects

CODE = ("poplift", "feature_repo", "training")
REPORT = "effects.html"
THREADS = 1  # fits are short: two threads that wait for each other on a busy machine take longer than one


@dataclass(frozen=True)
class Fitted:
    """What `poplift effects` left; `averages` is None when table and fit were there already."""

    rows: int
    version: str
    report: Path
    averages: pd.DataFrame | None = None
    sufficient_share: float = float("nan")


def refresh_effects(
    settings: Settings, progress: Progress = silent, *, assumptions: Assumptions | None = None
) -> Fitted:
    """Fit effects as known at business time unless this data, code, seed and these assumptions were fitted last.

    Writes the table of the view, brings the online store up to it, registers the fit in MLflow, leaves its report.
    Raises LakeError before anything was ingested, ObservationError and EstimateError when the lake holds too little.
    """
    from feature_repo import effects as view

    declared = assumptions or Assumptions()
    initialise(settings)
    report = settings.reports_dir / REPORT
    recipe = _recipe(settings, declared)
    champion = registry.by_alias(settings, name=registry.EFFECTS, alias=registry.CHAMPION)
    is_written = view.fitted_recipe(settings.features_dir) == recipe and report.exists()
    if champion is not None and champion.tags.get("recipe") == recipe and is_written:
        return Fitted(int(float(champion.tags["rows"])), champion.version, report)
    fitted = fit(settings, progress, assumptions=declared)
    drivers = _drivers(settings, fitted, progress)
    progress("writing the effect table")
    cells = fitted.table.cells
    view.write_table(cells, features_dir=settings.features_dir, as_of=settings.now(), recipe=recipe)
    _serve(settings, progress)
    progress("registering in MLflow")
    logged = _register(settings, fitted, recipe=recipe, report=report, drivers=drivers)
    return Fitted(len(cells), str(logged.version), report, fitted.table.averages, fitted.sufficient_share)


def fit(settings: Settings, progress: Progress = silent, *, assumptions: Assumptions) -> "Effects":
    """The effects of the lake as known at business time; nothing is written."""
    from feature_repo.build import refuse_empty_weeks, sources
    from training.effects.lake_panel import observations_of
    from training.effects.learn import describe, learn

    progress("reading the lake")
    as_of = settings.now()
    lake = Lake(settings.lake_dir, threads=settings.threads)
    tables = sources(lake, as_of=as_of)
    refuse_empty_weeks(tables, as_of=as_of)
    observations = observations_of(tables, _reports(settings, lake))
    return learn(
        observations,
        assumptions=assumptions,
        readouts=_readouts(settings, lake),
        pins={**describe(observations), "as_of": as_of.isoformat(), "seed": settings.seed},
        seed=settings.seed,
        threads=THREADS,
        progress=progress,
    )


def _reports(settings: Settings, lake: Lake) -> "Reports":
    from training.effects.lake_panel import Reports

    names = {
        "decisions": "decisions",
        "executions": "executions",
        "availability": "availability",
        "profiles": "outlet_profiles",
    }
    held = {name: lake.read(table, as_of=settings.now()) for name, table in names.items() if lake.parts(table)}
    return Reports(**held)


def _readouts(settings: Settings, lake: Lake) -> pd.DataFrame | None:
    """The newest final readout of every experiment."""
    if not lake.parts("readouts"):
        return None
    rows: pd.DataFrame = lake.read("readouts", as_of=settings.now()).to_pandas()
    return rows[rows["is_final"]].sort_values("weeks_observed").drop_duplicates("experiment", keep="last")


def _serve(settings: Settings, progress: Progress) -> None:
    from feature_repo.catalog import EFFECT_VIEW
    from feature_repo.definitions.repository import objects

    progress("feast apply")
    feature_store.apply(settings, objects(settings))
    progress("feast materialize")
    feature_store.materialize(settings, views=[EFFECT_VIEW.name])


def _drivers(settings: Settings, fitted: "Effects", progress: Progress) -> dict[str, pd.DataFrame]:
    """What the champion's SHAP says of each driver beside its cause, by the table's title; empty without a champion."""
    from feature_repo.build import sources
    from training import dataset
    from training.demand import load
    from training.driver_response import beside_causes
    from training.effects.report import DRIVERS

    champion = registry.by_alias(settings, name=registry.DEMAND, alias=registry.CHAMPION)
    if champion is None:
        return {}
    progress("drivers of the forecast beside causes")
    as_of = settings.now()
    tables = sources(Lake(settings.lake_dir, threads=settings.threads), as_of=as_of)
    rows = dataset.build(tables, join=partial(historical_features, settings), as_of=as_of).frame
    with registry.model_files(settings, champion) as folder:
        model = load(folder)
    causes = {name: fitted.estimate.coefficient(name) for name in ("display", "mailer", "price")}
    return {DRIVERS: beside_causes(model, rows, causes=causes, seed=settings.seed)}


def _register(
    settings: Settings, fitted: "Effects", *, recipe: str, report: Path, drivers: dict[str, pd.DataFrame]
) -> registry.LoggedRun:
    """Log the fit and make it champion, which is the fit whose table was written last."""
    with tempfile.TemporaryDirectory(prefix="poplift-effects-") as made:
        folder = Path(made)
        fitted.write_artifacts(folder, extra=drivers)
        write_whole(report, (folder / "report.html").read_bytes())
        list_report(settings.reports_dir, REPORT)
        pins = {key: str(value) for key, value in fitted.pins.items()}
        tags = {**pins, "recipe": recipe, "rows": str(len(fitted.table.cells)), "commit": commit()}
        name = f"effects of weeks {fitted.pins['first_week']} to {fitted.pins['last_week']}"
        logged = registry.log_effects(
            settings,
            run_name=name,
            params=fitted.assumptions.model_dump(exclude={"note"}),
            metrics=fitted.metrics(),
            tags=tags,
            artifacts=folder,
        )
    alias_moves.point(
        settings,
        model=registry.EFFECTS,
        alias=registry.CHAMPION,
        version=str(logged.version),
        who="effects",
        why=f"{name}, whose table was written",
        judged=alias_moves.NOT_JUDGED,
    )
    return logged


def _recipe(settings: Settings, assumptions: Assumptions) -> str:
    """Digest of all that decides what a fit says: lake, instant, code, seed, assumptions."""
    lake = Lake(settings.lake_dir)
    parts = [str(part.relative_to(lake.root)) for one in EVERY_CONTRACT for part in lake.parts(one.table)]
    said = [*parts, settings.now().isoformat(), source_digest(CODE), str(settings.seed)]
    return sha256("\n".join([*said, assumptions.model_dump_json()]).encode()).hexdigest()
