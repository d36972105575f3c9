"""The on-demand view of the planned activation: request fields and history in, model inputs out."""

from inspect import getsource

import pandas as pd
from feast import FeatureView, Field, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64

from feature_repo.catalog import ON_DEMAND, ON_DEMAND_INPUTS, REQUEST_FIELDS, VIEWS

PRICE = "planned_price"


# Feast stores the text of this function and runs it elsewhere with nothing but pandas in scope: hence the import
# inside. The arithmetic lives where it is tested and where serving calls it too.
def planned_activation_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Call the tested function; nothing else belongs here."""
    from feature_repo.transformations.planned_activation import planned_activation

    return planned_activation(inputs)


def on_demand_view(batch_views: list[FeatureView]) -> OnDemandFeatureView:
    """The on-demand view over the batch views that hold its inputs."""
    needed = {v.name for v in VIEWS if {f.name for f in v.features} & set(ON_DEMAND_INPUTS)}
    request = RequestSource(
        name="planned_activation_request",
        description="What is planned for the outlet and ppg in the coming week.",
        schema=[
            Field(name=f.name, dtype=Float64 if f.name == PRICE else Int64, description=f.description)
            for f in REQUEST_FIELDS
        ],
    )
    return OnDemandFeatureView(
        name="planned_activation",
        sources=[request, *(v for v in batch_views if v.name in needed)],
        schema=[Field(name=f.name, dtype=Float64) for f in ON_DEMAND],  # Feast refuses descriptions here
        feature_transformation=PandasTransformation(
            planned_activation_features, getsource(planned_activation_features)
        ),
        mode="pandas",
        description="Model inputs of a planned activation, computed when they are asked for.",
        owner=VIEWS[0].owner,
    )
