import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import VIEWS

CUT = 12


def _built(view, sources):
    frame = view.build(sources).to_pandas()
    return frame.sort_values(["event_timestamp", *view.entities], ignore_index=True)


def _scrambled_after(data, week, seed=3):
    """Everything later than a week altered: who bought what where, how much, at which price, under which promotion."""
    random = np.random.default_rng(seed)
    for name, columns in {
        "pos_lines": ["product_id", "outlet_id", "shopper_id", "quantity"],
        "promotions": ["display_location", "mailer_location"],
        "price_calendar": ["regular_price", "planned_price"],
    }.items():
        late = (data[name]["week"] > week).to_numpy()
        for column in columns:
            data[name].loc[late, column] = random.permutation(data[name].loc[late, column].to_numpy())
    late = data["price_calendar"]["week"] > week
    data["price_calendar"].loc[late, ["regular_price", "planned_price"]] *= 3
    return data


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_altering_every_later_week_changes_no_feature_row_known_before(view, tables, as_sources):
    data = tables()
    closes = data["weeks"].set_index("week").loc[CUT, "closes_at"]
    honest = _built(view, as_sources(tables()))
    scrambled = _built(view, as_sources(_scrambled_after(data, CUT)))
    pd.testing.assert_frame_equal(
        honest[honest["event_timestamp"] <= closes], scrambled[scrambled["event_timestamp"] <= closes], rtol=1e-9
    )
    assert not honest.equals(scrambled), "the alteration must be visible somewhere, or this test proves nothing"


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_rows_known_at_an_instant_are_those_of_a_history_that_ends_there(view, tables, as_sources):
    data = tables()
    short = {n: f[f["week"] <= CUT] if "week" in f and n != "weeks" else f for n, f in tables().items()}
    closes = data["weeks"].set_index("week").loc[CUT, "closes_at"]
    whole = _built(view, as_sources(data))
    pd.testing.assert_frame_equal(whole[whole["event_timestamp"] <= closes], _built(view, as_sources(short)), rtol=1e-9)
