"""Step: turn the champion into the served release; running processes pick it up by themselves."""

from pathlib import Path

import pandas as pd
from ibis import _

from flows.steps.progress import Progress, silent
from flows.steps.promote import CHAMPION_LOCK, reconcile
from poplift import registry
from poplift.clock import wall_now
from poplift.contracts.tables import CONTRACTS
from poplift.databases import exclusive
from poplift.lake import Lake
from poplift.registry import GOLDEN, REPORT, Version
from poplift.settings import Settings
from serving import current, pointer, release
from serving.pointer import PointerMovedError
from serving.policy import Policy
from serving.release import Release

MODEL_PAGE = "model.html"
PROMISES = ("poisson_deviance", "wape_ppg_week", "bias")


def refresh_release(settings: Settings, progress: Progress = silent, *, again: bool = False) -> Release:
    """Build, verify and activate the release of the champion and return what answers now.

    The same champion under the same policy is the same release. One that a rollback took back stays away, or the next
    run would put on again what a person has just taken off; `again` says that it may come back.

    A rollback waits for nobody. One that came while this was building is seen when it is activated, and what it owes
    the alias is done first.
    """
    with exclusive(settings, CHAMPION_LOCK):
        while True:
            seen = pointer.read_pointer(settings.releases_dir)
            progress("champion")
            champion = reconcile(settings)
            with registry.model_files(settings, champion) as folder:
                progress("building and verifying")
                built = build_release(settings, champion, folder)
            if built.id == seen.get("taken_back") and not again:
                progress(f"release {built.id} was taken back and stays away; `poplift release --again` puts it on")
                built = release.verify(settings.releases_dir / str(seen["id"]))
                break
            try:
                current.activate(built.id, releases_dir=settings.releases_dir, seen=seen)
            except PointerMovedError as error:
                progress(str(error))
            else:
                break
        progress("model report")
        settings.reports_dir.mkdir(parents=True, exist_ok=True)
        registry.copy_artifact(settings, champion, REPORT, to=settings.reports_dir / MODEL_PAGE)
    return built


def build_release(settings: Settings, version: Version, folder: Path) -> Release:
    """The verified release of a version whose model files are in `folder`; nobody is served from it yet."""
    golden = pd.read_json(folder / GOLDEN, orient="records", dtype=False, precise_float=True)
    return release.build(
        folder,
        releases_dir=settings.releases_dir,
        policy=policy(settings),
        golden=golden.astype("float64"),
        versions={
            "model_name": version.name,
            "model_version": version.version,
            "run_id": version.run_id,
            "commit": version.tags.get("commit", "none"),
            "code_digest": version.tags.get("code_digest", "none"),
            "data_digest": version.tags.get("data_digest", "none"),
            "contracts": {known.table: known.version for known in CONTRACTS},
            "promised": {name: version.metrics[name] for name in PROMISES if name in version.metrics},
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
