"""The demand model's answers to its drivers, and SHAP beside causes."""

import numpy as np
import pytest

from training.demand import DemandModel
from training.driver_response import answers, beside_causes


@pytest.fixture(scope="module")
def coming(frame):
    return frame().query("week > 40").assign(base_price_13w=2.0, planned_price=1.8)


class Stubborn:
    """A booster that sells less the deeper the cut, and more in every later call."""

    def __init__(self, booster):
        self.booster, self.calls = booster, 0

    def feature_name(self):
        return self.booster.feature_name()

    def predict(self, frame, **options):
        self.calls += 1
        return self.booster.predict(frame, **options) * (1 + self.calls) * np.exp(-5 * frame["plan_depth"].to_numpy())


def test_the_demand_model_answers_to_its_drivers_in_every_week(model, coming):
    assert all(one.holds for one in answers(model, coming)), answers(model, coming)


def test_a_model_that_answers_otherwise_is_found_out(model, coming):
    odd = DemandModel({"transactions": Stubborn(model.boosters["transactions"])}, model.plan)
    found = {one.rule: one for one in answers(odd, coming)}
    assert not found["removing the promotion gives the base back"].holds
    assert not found["a cut of nothing is no cut"].holds
    assert found["removing the promotion gives the base back"].worst_week in set(coming["week"])


def test_shap_is_flagged_where_it_is_more_than_two_errors_from_the_cause(model, frame):
    rows = frame().query("week <= 40")
    causes = {"display": (0.4, 5.0), "mailer": (3.0, 0.01), "price": (2.0, 5.0)}
    table = beside_causes(model, rows, causes=causes, seed=1).set_index("driver")
    assert table["disagrees"].to_dict() == {"display": False, "mailer": True, "price": False}
    assert 0 < table.loc["display", "shap"] < 1
    assert table.loc["price", "shap"] > 0
