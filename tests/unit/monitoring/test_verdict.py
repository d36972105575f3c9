"""What the measurements mean together."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift import DriftSummary
from monitoring.freshness import FreshnessRow
from monitoring.performance import Accuracy, Performance
from monitoring.skew import Difference, SkewSummary
from monitoring.verdict import judge, readable_age

DAY = timedelta(days=1)
NO_SKEW = SkewSummary(10, 370, {}, ())
SERVED_AT = datetime(2018, 1, 2, tzinfo=UTC)
DIFFERENCE = Difference("outlet_trend", "outlet_baskets_4w", "outlet 7, ppg cola", 2.0, None, SERVED_AT, "d1")


def drift(state="ok"):
    return DriftSummary((), 1000, 1000, state, () if state == "ok" else (f"drift is {state}",))


def view(state="ok", name="outlet_trend"):
    age = {"ok": DAY, "soft": 9 * DAY, "hard": 22 * DAY, "empty": None, "future": -DAY}[state]
    newest = None if age is None else datetime(2018, 1, 2, tzinfo=UTC) - age
    return FreshnessRow(name, "online", newest, age, 8 * DAY, 21 * DAY, state)


def performance(state="ok"):
    accuracy = Accuracy(0.5, 0.2, 0.01)
    grades = {"poisson_deviance": state, "wape_ppg_week": "ok", "bias": "ok"}
    reasons = () if state == "ok" else (f"deviance is {state}",)
    return Performance(accuracy, accuracy, 1000, (53,), grades, state, reasons)


def skew(state="ok"):
    name = f"{DIFFERENCE.view}.{DIFFERENCE.feature}"
    return NO_SKEW if state == "ok" else SkewSummary(10, 370, {name: 1}, (DIFFERENCE,))


def test_everything_well_is_ok_without_reasons():
    verdict = judge(drift=drift(), freshness=[view()], performance=performance(), skew=NO_SKEW)
    assert (verdict.status, verdict.reasons, verdict.holds) == ("ok", (), False)


@pytest.mark.parametrize("missing", ["drift", "freshness", "performance", "skew"])
def test_a_missing_measurement_is_unknown_and_holds(missing):
    inputs = {"drift": drift(), "freshness": [view()], "performance": performance(), "skew": NO_SKEW, missing: None}
    verdict = judge(**inputs)
    assert (verdict.status, verdict.holds) == ("unknown", True)
    assert verdict.reasons == (f"{missing.capitalize()} check did not run.",)


def test_no_view_at_all_is_not_a_pass():
    assert judge(drift=drift(), freshness=[], performance=performance(), skew=NO_SKEW).status == "unknown"


def test_a_report_that_broke_is_unknown_and_says_how():
    verdict = judge(
        drift=drift(), freshness=[view()], performance=performance(), skew=NO_SKEW, failures={"Drift page": "disk full"}
    )
    assert (verdict.status, verdict.reasons) == ("unknown", ("Drift page failed: disk full.",))


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        ("soft", "warn", "9 days old, over 8 days: answers are flagged"),
        ("hard", "breach", "22 days old, over 21 days: values are not used"),
        ("empty", "breach", "is empty"),
        ("future", "breach", "24 hours after business time"),
    ],
)
def test_a_stale_view_is_named_with_its_age_and_effect(state, status, said):
    verdict = judge(
        drift=drift(), freshness=[view(), view(state, "ppg_trend")], performance=performance(), skew=NO_SKEW
    )
    assert verdict.status == status
    assert verdict.reasons[0].startswith("ppg_trend (online)")
    assert said in verdict.reasons[0]


def test_the_gravest_reason_comes_first():
    verdict = judge(
        drift=drift("warn"),
        freshness=[view("hard")],
        performance=None,
        skew=skew("breach"),
        failures={"Drift page": "disk full"},
    )
    assert [reason.split()[0] for reason in verdict.reasons] == [
        "outlet_trend",
        "outlet_trend.outlet_baskets_4w",
        "Drift",
        "Performance",
        "drift",
    ]


@given(
    st.sampled_from([None, "ok", "warn", "breach"]),
    st.lists(st.sampled_from(["ok", "soft", "hard", "empty", "future"]), max_size=3),
    st.sampled_from([None, "ok", "warn", "breach"]),
    st.sampled_from([None, "ok", "breach"]),
    st.booleans(),
)
def test_ok_means_that_every_check_ran_and_passed(moved, ages, accuracy, skewed, broke):
    verdict = judge(
        drift=moved and drift(moved),
        freshness=[view(state) for state in ages],
        performance=accuracy and performance(accuracy),
        skew=skewed and skew(skewed),
        failures={"Drift page": "disk full"} if broke else None,
    )
    passed = moved == accuracy == skewed == "ok" and bool(ages) and set(ages) == {"ok"} and not broke
    assert (verdict.status == "ok") == passed
    assert bool(verdict.reasons) != passed
    assert verdict.holds == (verdict.status in {"breach", "unknown"})


def test_nothing_served_yet_is_no_reason_to_hold():
    nothing = SkewSummary(0, 0, {}, ())
    verdict = judge(drift=drift(), freshness=[view()], performance=performance(), skew=nothing)
    assert (verdict.status, verdict.reasons) == ("ok", ())


def test_a_value_served_otherwise_is_told_with_view_feature_entity_and_both_values():
    verdict = judge(drift=drift(), freshness=[view()], performance=performance(), skew=skew("breach"))
    assert (verdict.status, verdict.holds) == ("breach", True)
    assert verdict.reasons == (
        (
            "outlet_trend.outlet_baskets_4w was served otherwise than training sees it, in 1 of 10 vectors: outlet 7, "
            "ppg cola got 2 online and has nothing offline at 2018-01-02 00:00 (docs/runbooks/features-skewed.md)."
        ),
    )


def test_figures_without_a_measurement_have_no_value():
    assert {f.value for f in judge(drift=None, freshness=None, performance=None, skew=None).figures} == {None}


@pytest.mark.parametrize(
    ("age", "text"), [(timedelta(hours=3), "3 hours"), (8 * DAY, "8 days"), (8.5 * DAY, "8.5 days")]
)
def test_ages_are_told_in_hours_or_days(age, text):
    assert readable_age(age) == text
