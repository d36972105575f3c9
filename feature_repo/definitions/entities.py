"""The things features are about; shoppers are personal data and appear only aggregated."""

from feast import Entity, ValueType

OUTLET = "outlet"
PPG = "ppg"


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
    }
