"""A home to serve from: the online store of another home, and a small release of its own."""

import pandas as pd

from feature_repo.catalog import MODEL_FEATURES
from poplift.settings import Settings
from serving.current import activate
from serving.policy import Policy
from serving.release import build

KNOWN = {"outlet_id": "367", "ppg_id": "m1208-soft-drinks-12-18-15pk-can-car"}


def served_home(online, folder, model_folder):
    """Settings of a new home in `folder` that reads what the settings `online` have materialised."""
    settings = Settings(**(online.model_dump(exclude_unset=True) | {"home": folder}))
    settings.home.mkdir()
    for name in ("online.db", "read-plans"):
        if (online.home / name).exists():
            (settings.home / name).symlink_to(online.home / name)
    built = build(
        model_folder,
        releases_dir=settings.releases_dir,
        policy=Policy(ppgs=(KNOWN["ppg_id"],), sentinel_outlet=KNOWN["outlet_id"]),
        golden=pd.DataFrame([[1.0] * len(MODEL_FEATURES)], columns=list(MODEL_FEATURES)),
        versions={},
    )
    activate(built.id, releases_dir=settings.releases_dir)
    return settings
