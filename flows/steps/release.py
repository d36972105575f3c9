"""Step: turn the champion into the served release; running processes pick it up by themselves."""

from pathlib import Path

import pandas as pd
from ibis import _

from flows.steps.progress import Progress, silent
from flows.steps.promote import CHAMPION_LOCK, move_champion, reconcile
from flows.steps.train import GOLDEN, REPORT
from poplift import registry
from poplift.clock import wall_now
from poplift.databases import exclusive
from poplift.lake import Lake
from poplift.registry import Version
from poplift.settings import Settings
from serving import current, release
from serving.policy import Policy
from serving.release import Release

MODEL_PAGE = "model.html"
PROMISES = ("poisson_deviance", "wape_ppg_week", "bias")


def refresh_release(settings: Settings, progress: Progress = silent) -> Release:
    """Build, verify and activate the release of the champion; the same champion is the same release."""
    progress("champion")
    with exclusive(settings, CHAMPION_LOCK):
        champion = reconcile(settings)
        with registry.model_files(settings, champion) as folder:
            progress("building and verifying")
            built = _build(settings, champion, folder)
        current.activate(built.id, releases_dir=settings.releases_dir)
        progress("model report")
        settings.reports_dir.mkdir(parents=True, exist_ok=True)
        registry.copy_artifact(settings, champion, REPORT, to=settings.reports_dir / MODEL_PAGE)
    return built


def roll_back(settings: Settings, *, who: str, why: str) -> str:
    """Activate the release before the current one and take the alias back with it; returns its id.

    Without the alias the next release step would put the rolled-back model on again.
    """
    with exclusive(settings, CHAMPION_LOCK):
        previous = current.rollback(releases_dir=settings.releases_dir)
        loaded = release.load(settings.releases_dir / previous)
        move_champion(settings, version=loaded.model_version, who=who, why=why)
    return previous


def _build(settings: Settings, champion: Version, folder: Path) -> Release:
    golden = pd.read_json(folder / GOLDEN, orient="records", dtype=False, precise_float=True)
    return release.build(
        folder,
        releases_dir=settings.releases_dir,
        policy=policy(settings),
        golden=golden.astype("float64"),
        versions={
            "model_name": champion.name,
            "model_version": champion.version,
            "run_id": champion.run_id,
            "commit": champion.tags.get("commit", "none"),
            "code_digest": champion.tags.get("code_digest", "none"),
            "data_digest": champion.tags.get("data_digest", "none"),
            "promised": {name: champion.metrics[name] for name in PROMISES if name in champion.metrics},
        },
        created_at=wall_now(),
    )


def policy(settings: Settings) -> Policy:
    """The decision rule over the managed assortment; readiness asks for its first outlet."""
    lake = Lake(settings.lake_dir, threads=settings.threads)
    as_of = settings.now()
    products, outlets = (lake.read(table, as_of=as_of) for table in ("products", "outlets"))
    ppgs = products.filter(_.ppg_id.notnull()).select("ppg_id").distinct().to_pyarrow()
    managed = outlets.filter(_.is_managed).select("outlet_id").to_pyarrow()
    return Policy(ppgs=tuple(sorted(ppgs["ppg_id"].to_pylist())), sentinel_outlet=min(managed["outlet_id"].to_pylist()))
