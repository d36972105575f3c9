"""What Feast sees: entities, views, on-demand view and feature services of one set of settings."""

from collections.abc import Sequence
from typing import Any

from feast import FeatureService

from feature_repo.catalog import (
    BUILT,
    DEMAND_SERVING,
    DEMAND_TRAINING,
    EARLIER_SERVICES,
    EFFECT_VIEW,
    EFFECTS,
    RUNNING,
    RUNNING_VIEWS,
    VIEWS,
)
from poplift.feature_evolution import RETIRED
from poplift.feature_store import refuse_breaking_changes
from poplift.settings import Settings, load_settings

from .entities import entities
from .on_demand import on_demand_view
from .views import batch_view


def objects(settings: Settings) -> Sequence[Any]:
    """Every Feast object of the platform, sources by absolute path under `settings.features_dir`."""
    built = {view.name: batch_view(view, settings) for view in BUILT}
    views = [built[view.name] for view in VIEWS]
    running = [batch_view(view, settings) for view in RUNNING_VIEWS]
    effects = batch_view(EFFECT_VIEW, settings)
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
        FeatureService(
            name=EFFECTS,
            features=[effects],
            description="What every activation adds; planner and reports read it, no demand model does.",
            owner=VIEWS[0].owner,
        ),
    ]
    services += [
        FeatureService(
            name=earlier.name,
            features=[*(built[name] for name in earlier.views), *([on_demand] if earlier.with_plan else [])],
            description="Kept for programs that still read it.",
            tags={RETIRED: earlier.retired} if earlier.retired else {},
            owner=VIEWS[0].owner,
        )
        for earlier in EARLIER_SERVICES
    ]
    return [*entities().values(), *built.values(), *running, effects, on_demand, *services]


# The CLI takes the attributes of the modules it loads; loaded any other way, this module defines nothing.
# Refused here because `feast apply` itself would register anything.
if not __package__.startswith("feature_repo"):
    _settings = load_settings()
    _defined = objects(_settings)
    refuse_breaking_changes(_settings, _defined)
    globals().update({o.name: o for o in _defined})
