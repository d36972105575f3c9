"""The estimate: near the planted lifts where the naive answer is far off; refused where the panel says nothing."""

from dataclasses import replace

import numpy as np
import pytest

from training.effects.estimate import EstimateError, estimate, informed
from training.effects.nuisances import cell_level, expected_when_drawn
from training.effects.response import LOSS_PRIOR


def test_planted_lifts_lie_within_three_standard_errors(found):
    for name, planted in {"display": 0.4, "mailer": 0.6, "price": 2.0, "dip_1w": 0.1, "switching": 0.15}.items():
        value, error = found.coefficient(name)
        assert abs(value - planted) < 3 * error, (name, value, error)
        assert error < 0.4 * planted


def test_the_same_panel_and_seed_give_the_same_estimate(known, found):
    again = estimate(known.observations(), seed=1)
    assert np.array_equal(again.parameters, found.parameters)


def test_empty_shelves_hide_lift_and_the_correction_finds_it(make_shop):
    panel = make_shop(4, empties=True)
    corrected = estimate(panel.observations(), seed=1)
    fooled = estimate(panel.observations(), seed=1, is_censored=False)
    assert fooled.coefficient("price")[0] < 2.0 - 0.2
    assert abs(corrected.coefficient("price")[0] - 2.0) < 0.15
    assert corrected.stock is not None
    assert corrected.demand.sum() / panel.wanted.sum() == pytest.approx(1.0, abs=0.05)


def test_a_panel_without_an_activation_is_refused(known):
    observations = known.observations()
    with pytest.raises(EstimateError, match="ever activated"):
        estimate(replace(observations, treatment=np.zeros_like(observations.treatment)), seed=1)


def test_a_component_that_never_ran_is_named(known):
    observations = known.observations()
    treatment = observations.treatment.copy()
    treatment[..., 1] = treatment[..., 2] = 0.0
    with pytest.raises(EstimateError, match="mailer"):
        estimate(replace(observations, treatment=treatment), seed=1)


def test_the_published_losses_count_only_where_the_panel_cannot_tell(found):
    response, parameters = found.response, found.parameters
    at = response.means["switching"]
    sure = informed(response, parameters, found.covariance * 1e-4)[0]
    assert sure[at] == pytest.approx(parameters[at], abs=1e-3)
    unsure = informed(response, parameters, found.covariance * 1e6)
    assert unsure[0][at] == pytest.approx(LOSS_PRIOR["switching"][0], abs=0.02)
    assert unsure[1][at, at] <= LOSS_PRIOR["switching"][1] ** 2 * 1.01


def test_a_cells_level_does_not_see_its_own_block_of_weeks():
    freed, usable = np.ones((24, 3, 2)), np.ones((24, 3, 2), dtype=bool)
    freed[6:12, 0, 0] = 100.0
    level = cell_level(freed, usable)
    assert level[7, 0, 0] == pytest.approx(1.0)
    assert level[0, 0, 0] > 20


def test_logged_propensities_are_used_only_when_they_are_a_distribution(known):
    observations = known.observations()
    assert expected_when_drawn(observations) == pytest.approx([0.5, 0.5, 0.25, 0.5 * -np.log(0.8)], abs=1e-5)
    odd = replace(observations, propensity=np.where(observations.explored, 0.01, np.nan))
    assert expected_when_drawn(odd) is None
