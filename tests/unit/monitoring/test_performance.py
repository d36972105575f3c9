"""Live accuracy against the promise of the release."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_poisson_deviance

from monitoring.performance import Accuracy, OutcomeError, compare_with_promise, measure_accuracy


def outcomes(factor=1.0, rows=1080, seed=3):
    draw = np.random.default_rng(seed)
    mean = draw.gamma(0.5, 1.2, rows) + 0.05
    place = np.arange(rows)
    return pd.DataFrame(
        {
            "outlet_id": place % 108,
            "ppg_id": place // 108 % 5,
            "week": 50 + place // 540,
            "transactions": draw.poisson(mean),
            "prediction": mean * factor,
        }
    )


def test_the_deviance_is_that_of_scikit_learn():
    frame = outcomes()
    expected = mean_poisson_deviance(frame["transactions"], frame["prediction"])
    assert measure_accuracy(frame).poisson_deviance == pytest.approx(expected)


def test_wape_nets_the_errors_of_outlets_within_a_ppg_week():
    frame = pd.DataFrame(
        {
            "outlet_id": ["1", "2", "1"],
            "ppg_id": ["a", "a", "b"],
            "week": 50,
            "transactions": [0, 4, 6],
            "prediction": [3.0, 2.0, 4.0],
        }
    )
    accuracy = measure_accuracy(frame)
    assert accuracy.wape_ppg_week == pytest.approx((1 + 2) / 10)
    assert accuracy.bias == pytest.approx(-0.1)


def test_a_model_that_does_as_promised_is_ok():
    frame = outcomes()
    result = compare_with_promise(frame, promised=measure_accuracy(frame))
    assert (result.state, result.reasons, result.weeks) == ("ok", (), (50, 51))


@pytest.mark.parametrize(("factor", "state"), [(1.15, "warn"), (1.8, "breach"), (0.3, "breach")])
def test_a_model_that_drifts_off_in_total_is_reported_by_degree(factor, state):
    promised = Accuracy(poisson_deviance=100.0, wape_ppg_week=100.0, bias=measure_accuracy(outcomes()).bias)
    result = compare_with_promise(outcomes(factor), promised=promised)
    assert result.state == state
    assert result.grades == {"poisson_deviance": "ok", "wape_ppg_week": "ok", "bias": state}
    assert "off in total" in result.reasons[0]


def test_a_deviance_worse_than_promised_names_both_figures():
    live = measure_accuracy(outcomes())
    promised = Accuracy(live.poisson_deviance / 1.5, live.wape_ppg_week, live.bias)
    result = compare_with_promise(outcomes(), promised=promised)
    assert result.state == "breach"
    assert result.reasons == (
        f"Poisson deviance is {live.poisson_deviance:.3f}, promised {promised.poisson_deviance:.3f}",
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.drop(columns="prediction"), "lack prediction"),
        (lambda f: f.head(0), "no outcomes yet"),
        (lambda f: f.head(20), "20 outcomes are in"),
        (lambda f: f.assign(prediction=f["prediction"].where(f.index > 2)), "3 of 1080 outcomes"),
        (lambda f: f.assign(prediction=0.0), "1080 of 1080 outcomes"),
        (lambda f: f.assign(transactions=-1), "1080 of 1080 outcomes"),
        (lambda f: f.assign(transactions=0), "nothing sold"),
    ],
)
def test_outcomes_that_prove_nothing_are_refused_with_the_reason(spoil, said):
    with pytest.raises(OutcomeError, match=said):
        compare_with_promise(spoil(outcomes()), promised=Accuracy(1.0, 1.0, 0.0))


def test_a_promise_of_zero_error_is_refused():
    with pytest.raises(OutcomeError, match="must be positive"):
        compare_with_promise(outcomes(), promised=Accuracy(0.0, 0.2, 0.0))
