"""The effect table: complete, net, in money after the cut, and thin where it should be."""

import numpy as np
import pandas as pd
import pytest

from poplift.activation import CANDIDATES
from poplift.assumptions import Assumptions
from training.effects.effect_table import COLUMNS, GIVE_AWAY, MEASURES, effect_table, evidence, units_per_transaction
from training.effects.overlap import overlap_of
from training.effects.sensitivity import sensitivity


@pytest.fixture(scope="module")
def table(found):
    return effect_table(found, assumptions=Assumptions())


def test_every_outlet_ppg_and_activation_has_one_row_and_none_has_no_effect(table):
    cells = table.cells
    assert len(cells) == 24 * 3 * len(CANDIDATES)
    assert not cells.duplicated(["outlet_id", "ppg_id", "activation"]).any()
    none = cells[cells["activation"] == "none"]
    assert np.allclose(none[[*COLUMNS, GIVE_AWAY]], 0.0)
    assert (none["evidence"] == "sufficient").all()


def test_the_estimate_lies_inside_its_interval_and_the_average_is_that_of_the_cells(table):
    for measure in MEASURES:
        low, mid, high = (table.cells[f"incremental_{measure}{end}"] for end in ("_low", "", "_high"))
        assert ((low <= mid) & (mid <= high)).all()
        by_activation = table.cells.groupby("activation")[f"incremental_{measure}"].mean()
        averages = table.averages.set_index("activation")[f"incremental_{measure}"]
        assert np.allclose(by_activation.loc[averages.index], averages)


def test_net_is_less_than_what_the_ppg_itself_gains(found, table):
    gross = (
        found.base.mean(axis=0)[..., None] * np.expm1(found.response.candidate_lift(found.parameters, CANDIDATES))
    ).mean(axis=(0, 1))
    assert (table.averages["incremental_transactions"].to_numpy()[1:] < gross[1:]).all()


def test_a_deeper_cut_gives_away_more_and_is_charged_to_those_who_would_have_bought_anyway(found, table):
    averages = table.averages.set_index("activation")
    cuts = ["price_cut_10", "price_cut_20", "price_cut_30"]
    assert averages.loc[cuts, GIVE_AWAY].is_monotonic_increasing
    thin_margin = effect_table(found, assumptions=Assumptions(unit_margin=0.1)).averages.set_index("activation")
    assert (thin_margin.loc[cuts, "incremental_margin_usd"] < 0).all()


def test_units_per_transaction_are_those_of_the_panel(found):
    per, deeper = units_per_transaction(found)
    assert np.allclose(per, 2.0)
    assert deeper == pytest.approx(0.0, abs=1e-9)


def test_evidence_is_thin_where_zero_is_inside_or_the_activation_had_no_choice():
    frame = pd.DataFrame(
        {
            "activation": ["display", "display", "display", "none"],
            "incremental_transactions_low": [0.1, -0.1, 0.1, 0.0],
            "incremental_transactions_high": [0.3, 0.3, 0.3, 0.0],
            "overlap": [0.9, 0.9, 0.1, 1.0],
        }
    )
    assert list(evidence(frame)) == ["sufficient", "thin", "thin", "sufficient"]


def test_the_overlap_of_a_combination_is_that_of_its_scarcest_component():
    components = np.array([[[0.9, 0.2, 0.5]]])
    assert overlap_of(components, CANDIDATES)[0, 0].tolist() == [1.0, 0.9, 0.2, 0.2, 0.5, 0.5, 0.5, 0.2]


def test_dearer_activations_and_thinner_margins_leave_less(found):
    money = sensitivity(found, Assumptions()).set_index("activation")
    assert (money.loc["display", "margin x1, costs x1.5"]) < money.loc["display", "margin x1, costs x0.5"]
    assert (money["margin x0.5, costs x1"] < money["margin x1.5, costs x1"]).all()
