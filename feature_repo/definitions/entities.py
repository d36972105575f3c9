"""The things features are about; shoppers are personal data and appear only aggregated."""

from feast import Entity, ValueType

OUTLET = "outlet"
PPG = "ppg"
ACTIVATION = "activation"


def entities() -> dict[str, Entity]:
    """Join key → entity."""
    return {
        "outlet_id": Entity(
            name=OUTLET,
            join_keys=["outlet_id"],
            value_type=ValueType.STRING,
            description="One selling location.",
        ),
        "ppg_id": Entity(
            name=PPG,
            join_keys=["ppg_id"],
            value_type=ValueType.STRING,
            description="Promoted product group: products priced and promoted together.",
        ),
        "activation": Entity(
            name=ACTIVATION,
            join_keys=["activation"],
            value_type=ValueType.STRING,
            description="What is run at an outlet for a ppg in a week, by its short name.",
        ),
    }
