import numpy as np
import pandas as pd
import pytest

from training.gate.contender import HIGH, LOW, MEAN, Contender, of_mean
from training.gate.judge import REQUIRED, judge


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
            "week": week + 41,
            "outlet_size": np.where(outlet % 2 == 0, "small", "large"),
            "promoted": np.where(promoted, "promoted", "not promoted"),
            "transactions": random.poisson(mean),
        }
    )
    flat = np.full(len(cells), cells["transactions"].mean())
    return cells, mean, flat


def _judge(market, challenger, *, champion=None, baselines=None, **more):
    cells, _, flat = market
    return judge(
        cells,
        challenger=challenger if isinstance(challenger, Contender) else of_mean(challenger),
        baselines={"mean_all": flat * 1.01} if baselines is None else baselines,
        champion=champion if champion is None or isinstance(champion, Contender) else of_mean(champion),
        seed=1,
        draws=400,
        **more,
    )


def test_a_model_that_beats_every_baseline_passes_with_the_figures(market):
    verdict = _judge(market, market[1])
    assert verdict.outcome == "pass"
    assert verdict.figures["deviance_vs_mean_all_high"] < 0


def test_a_model_worse_than_a_baseline_is_refused_by_name(market):
    verdict = _judge(
        market, market[1] ** 2 / (market[1] ** 2).mean() * market[2].mean(), baselines={"truth": market[1]}
    )
    assert verdict.outcome == "refuse"
    assert any("against truth" in reason for reason in verdict.reasons)


def test_a_model_worse_than_the_champion_is_refused_even_if_it_beats_the_baselines(market):
    noisy = market[1] * np.random.default_rng(0).gamma(4, 1 / 4, len(market[1]))
    verdict = _judge(market, noisy, champion=market[1])
    assert verdict.outcome == "refuse"
    assert any("against champion" in reason for reason in verdict.reasons)


def test_the_champion_again_is_not_enough_evidence(market):
    verdict = _judge(market, market[1], champion=market[1])
    assert verdict.outcome == "not enough evidence"
    assert "against champion; these cells show a gain of 0.0% or more" in verdict.reasons[0]


def test_a_gain_too_small_for_the_cells_is_told_with_the_gain_they_could_show(market):
    noisy = market[1] * np.exp(0.05 * np.random.default_rng(0).normal(size=len(market[1])))
    verdict = _judge(market, market[1], champion=noisy)
    assert verdict.outcome == "not enough evidence"
    assert 0 < verdict.figures["detectable_vs_champion"] < 0.05
    assert f"a gain of {verdict.figures['detectable_vs_champion']:.1%} or more" in verdict.reasons[0]


def test_weeks_that_the_champion_was_trained_on_are_not_used(market):
    cells, mean, flat = market
    knows = np.where(cells["week"] <= 47, cells["transactions"] + 0.01, mean)  # perfect where it was trained
    late = Contender({MEAN: np.where(cells["week"] <= 47, knows, flat)}, trained_through=47)
    verdict = _judge(market, Contender({MEAN: mean}, trained_through=40), champion=late)
    assert verdict.outcome == "pass"
    assert verdict.figures["weeks"] == 6
    flattered = _judge(market, Contender({MEAN: mean}, trained_through=40), champion=of_mean(late.mean))
    assert any("against champion" in reason for reason in flattered.reasons if flattered.outcome == "refuse")


def test_a_champion_trained_on_every_week_leaves_no_evidence(market):
    verdict = _judge(market, market[1], champion=Contender({MEAN: market[2]}, trained_through=53))
    assert verdict.outcome == "not enough evidence"
    assert verdict.reasons == (
        "0 weeks and 0 outlets held out, newer than the champion's training through week 53; at least 6 and 20 are needed",
    )


def test_a_check_that_did_not_run_keeps_a_verdict_open(market):
    verdict = _judge(market, market[1], required=REQUIRED)
    assert verdict.outcome == "not enough evidence"
    assert set(verdict.reasons) == {
        f"{check} was not examined" for check in ("interval", "response", "point in time", "generalisation", "cost")
    }


def test_an_interval_that_covers_too_little_is_refused(market):
    narrow = Contender({MEAN: market[1], LOW: market[1], HIGH: market[1] + 0.3})
    verdict = _judge(market, narrow)
    assert verdict.outcome == "refuse"
    assert "the 80% interval covers" in verdict.reasons[-1]


def test_a_group_of_outlets_forecast_too_low_is_refused_as_unfair(market):
    cells, mean, _ = market
    small = (cells["outlet_size"] == "small").to_numpy()
    tilted = np.where(small, 0.7 * mean, 1.3 * mean)
    tilted *= cells["transactions"].sum() / tilted.sum()
    verdict = _judge(market, tilted, baselines={"flat": np.full(len(cells), 0.01)})
    assert verdict.outcome == "refuse"
    assert any("apart between outlet size large and small, more than 15%" in reason for reason in verdict.reasons)


def test_a_total_that_is_right_by_two_wrongs_is_refused_by_tenths(market):
    cells, mean, _ = market
    steep = mean**1.8
    steep *= cells["transactions"].sum() / steep.sum()
    verdict = _judge(market, steep, baselines={"flat": np.full(len(cells), 0.01)})
    assert verdict.outcome == "refuse"
    assert any("in the worst tenth of the volume" in reason for reason in verdict.reasons)


def test_what_the_data_does_not_have_is_said_and_what_it_has_is_judged(market):
    cells, mean, _ = market
    said = [f.said for f in _judge(market, mean).findings]
    assert any("not in the data: activation, price, outlet_age, outlet_format, ppg_size" in s for s in said)
    with_format = (cells.assign(outlet_format=np.where(cells["outlet_id"] < 15, "kiosk", "hyper")), mean, market[2])
    assert "slice_outlet_format_is_kiosk" in _judge(with_format, mean).figures
    assert "fairness_outlet_format" in _judge(with_format, mean).figures


def test_a_slice_with_little_in_it_is_named_and_not_judged(market):
    cells, mean, flat = market
    rare = cells.assign(outlet_age=np.where(cells["outlet_id"] == 3, "new", "known"))
    verdict = _judge((rare, mean, flat), mean)
    assert verdict.outcome == "pass"
    assert any("too thin to judge: outlet age is new" in reason for reason in verdict.reasons)


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
    few = (cells["week"] < 45).to_numpy()
    verdict = judge(cells[few], challenger=of_mean(mean[few]), baselines={"m": flat[few]}, champion=None, seed=1)
    assert verdict.outcome == "not enough evidence"
    assert "4 weeks" in verdict.reasons[0]


def test_a_race_without_a_baseline_is_no_race(market):
    with pytest.raises(ValueError, match="no baseline"):
        _judge(market, market[1], baselines={})
