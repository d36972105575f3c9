"""What Feast sees: entities, views, on-demand view and feature services of one set of settings."""

from collections.abc import Sequence
from typing import Any

from feast import FeatureService

from feature_repo.catalog import DEMAND_SERVING, DEMAND_TRAINING, RUNNING, RUNNING_VIEWS, VIEWS
from poplift.settings import Settings, load_settings

from .entities import entities
from .on_demand import on_demand_view
from .views import batch_view


def objects(settings: Settings) -> Sequence[Any]:
    """Every Feast object of the platform, sources by absolute path under `settings.features_dir`."""
    views = [batch_view(view, settings) for view in VIEWS]
    running = [batch_view(view, settings) for view in RUNNING_VIEWS]
    on_demand = on_demand_view(views)
    services = [
        FeatureService(
            name=DEMAND_TRAINING,
            features=[*views, on_demand],
            description="Everything the demand model is trained on, the planned activation included.",
            owner=VIEWS[0].owner,
        ),
        FeatureService(
            name=DEMAND_SERVING,
            features=views,
            description="What serving reads once per outlet; candidates are applied to it in the process.",
            owner=VIEWS[0].owner,
        ),
        FeatureService(
            name=RUNNING,
            features=running,
            description="The week that is still open, minutes old; no model reads it.",
            owner=VIEWS[0].owner,
        ),
    ]
    return [*entities().values(), *views, *running, on_demand, *services]


# The CLI takes the attributes of the modules it loads; loaded any other way, this module defines nothing.
if not __package__.startswith("feature_repo"):
    globals().update({o.name: o for o in objects(load_settings())})
