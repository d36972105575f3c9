"""Step: turn the champion into the served release; running processes pick it up by themselves."""

import pandas as pd
from ibis import _

from flows.steps.progress import Progress, silent
from flows.steps.promote import move_champion, reconcile
from flows.steps.train import GOLDEN
from poplift import registry
from poplift.clock import wall_now
from poplift.lake import Lake
from poplift.settings import Settings
from serving import current, release
from serving.policy import Policy
from serving.release import Release

PROMISES = ("poisson_deviance", "wape_ppg_week", "bias")


def refresh_release(settings: Settings, progress: Progress = silent) -> Release:
    """Build, verify and activate the release of the champion; the same champion is the same release."""
    progress("champion")
    champion = reconcile(settings)
    with registry.model_files(settings, champion) as folder:
        progress("building and verifying")
        golden = pd.read_json(folder / GOLDEN, orient="records", dtype=False, precise_float=True)
        built = release.build(
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
    current.activate(built.id, releases_dir=settings.releases_dir)
    return built


def roll_back(settings: Settings, *, who: str, why: str) -> str:
    """Activate the release before the current one and take the alias back with it; returns its id.

    Without the alias the next release step would put the rolled-back model on again.
    """
    previous = current.rollback(releases_dir=settings.releases_dir)
    version = str(current.load_current(settings.releases_dir).versions["model_version"])
    move_champion(settings, version=version, who=who, why=why)
    return previous


def policy(settings: Settings) -> Policy:
    """The decision rule over the managed assortment; readiness asks for its first outlet."""
    lake = Lake(settings.lake_dir, threads=settings.threads)
    products = lake.read("products", as_of=settings.business_time)
    outlets = lake.read("outlets", as_of=settings.business_time)
    ppgs = products.filter(_.ppg_id.notnull()).select("ppg_id").distinct().to_pyarrow()
    managed = outlets.filter(_.is_managed).select("outlet_id").to_pyarrow()
    return Policy(ppgs=tuple(sorted(ppgs["ppg_id"].to_pylist())), sentinel_outlet=min(managed["outlet_id"].to_pylist()))
