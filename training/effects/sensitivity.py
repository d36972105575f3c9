"""How far the money depends on what is declared: net margin of every activation under other costs and margins."""

import pandas as pd

from poplift.activation import parse_activation
from poplift.assumptions import Assumptions
from poplift.margin import placement_costs_usd
from training.effects.effect_table import gained, tabulate
from training.effects.estimate import Estimate
from training.effects.readouts import combine

FACTORS = (0.5, 1.0, 1.5)


def sensitivity(estimate: Estimate, assumptions: Assumptions, *, readouts: pd.DataFrame | None = None) -> pd.DataFrame:
    """Grain: activation. Net margin per outlet, ppg and week (USD) by factors on costs and on the unit margin.

    `readouts` are those that the effect table took in, so that both say the same.

    Columns: activation, then one per pair of factors such as `margin x0.5, costs x1.5`.
    """
    columns: dict[str, pd.Series] = {}
    for of_margin in FACTORS:
        declared = assumptions.model_copy(update={"unit_margin": min(assumptions.unit_margin * of_margin, 1.0)})
        gains, _ = combine(gained(estimate, assumptions=declared), readouts)
        margin = tabulate(gains).averages.set_index("activation")["incremental_margin_usd"]
        for of_cost in FACTORS:
            costs = placement_costs_usd([parse_activation(n) for n in margin.index], assumptions=assumptions) * of_cost
            columns[f"margin x{of_margin:g}, costs x{of_cost:g}"] = margin - costs
    return pd.DataFrame(columns).drop(index="none").reset_index(names="activation")
