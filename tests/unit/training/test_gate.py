import numpy as np
import pandas as pd
import pytest

from training.gate import judge


@pytest.fixture
def market():
    """Cells with a known mean: forecasts can be made exactly as good or bad as a test needs."""
    random = np.random.default_rng(4)
    outlet, ppg, week = (a.ravel() for a in np.meshgrid(range(30), range(5), range(13), indexing="ij"))
    promoted = random.uniform(size=len(week)) < 0.3
    mean = np.exp(random.normal(-1.0, 0.7, 30)[outlet] + random.normal(0, 0.5, 5)[ppg] + 0.8 * promoted)
    cells = pd.DataFrame(
        {
            "outlet_id": outlet,
            "week": week,
            "promoted": np.where(promoted, "promoted", "not promoted"),
            "transactions": random.poisson(mean),
        }
    )
    flat = np.full(len(cells), cells["transactions"].mean())
    return cells, mean, flat


def _judge(market, challenger, *, champion=None, baselines=None):
    cells, _, flat = market
    baselines = {"mean_all": flat * 1.01} if baselines is None else baselines
    return judge(cells, challenger=challenger, baselines=baselines, champion=champion, seed=1, draws=400)


def test_a_model_that_beats_every_baseline_passes_with_the_figures(market):
    verdict = _judge(market, market[1])
    assert verdict.outcome == "pass"
    assert verdict.figures["deviance_vs_mean_all_high"] < 0


def test_a_model_worse_than_a_baseline_is_refused_by_name(market):
    verdict = _judge(
        market, market[1] ** 2 / (market[1] ** 2).mean() * market[2].mean(), baselines={"truth": market[1]}
    )
    assert verdict.outcome == "refuse"
    assert "against truth" in verdict.reasons[0]


def test_a_model_worse_than_the_champion_is_refused_even_if_it_beats_the_baselines(market):
    noisy = market[1] * np.random.default_rng(0).gamma(4, 1 / 4, len(market[1]))
    verdict = _judge(market, noisy, champion=market[1])
    assert verdict.outcome == "refuse"
    assert any("against champion" in reason for reason in verdict.reasons)


def test_the_champion_again_is_not_enough_evidence(market):
    verdict = _judge(market, market[1], champion=market[1])
    assert verdict.outcome == "not enough evidence"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: np.where(np.arange(len(f)) == 3, np.nan, f), "1 forecasts are NaN or infinite"),
        (lambda f: np.where(np.arange(len(f)) == 3, np.inf, f), "1 forecasts are NaN or infinite"),
        (lambda f: np.where(np.arange(len(f)) < 2, -0.1, f), "2 forecasts are negative"),
        (lambda f: np.full(len(f), f.mean()), "constant"),
        (lambda f: f * 1.5, "the total is"),
        (lambda f: f[:-1], "1949 forecasts for 1950 cells"),
    ],
    ids=["nan", "infinite", "negative", "constant", "biased", "too-short"],
)
def test_a_broken_forecast_is_refused_for_what_is_broken(market, spoil, reason):
    verdict = _judge(market, spoil(market[1]))
    assert verdict.outcome == "refuse"
    assert reason in verdict.reasons[0]


def test_harm_to_promoted_weeks_is_refused_though_the_total_is_better(market):
    cells, mean, flat = market
    promoted = (cells["promoted"] == "promoted").to_numpy()
    champion = np.where(promoted, mean, flat * 0.8)
    challenger = np.where(promoted, mean[promoted].mean(), mean)
    verdict = _judge(market, challenger, champion=champion, baselines={"flat": flat})
    assert verdict.outcome == "refuse"
    assert any("where promoted" in reason for reason in verdict.reasons)


def test_a_few_weeks_are_not_enough_evidence(market):
    cells, mean, flat = market
    few = (cells["week"] < 4).to_numpy()
    verdict = judge(cells[few], challenger=mean[few], baselines={"m": flat[few]}, champion=None, seed=1)
    assert verdict.outcome == "not enough evidence"
    assert "4 weeks" in verdict.reasons[0]


def test_a_race_without_a_baseline_is_no_race(market):
    with pytest.raises(ValueError, match="no baseline"):
        _judge(market, market[1], baselines={})
