import pandas as pd

from feature_repo.transformations.panel import panel


def test_the_panel_has_every_managed_outlet_ppg_and_known_week_exactly_once(tables, as_sources):
    cells = panel(as_sources(tables())).to_pandas()
    expected = pd.MultiIndex.from_product(
        [["o1", "o2", "o3"], ["cola", "lemonade", "tea"], range(1, 21)], names=["outlet_id", "ppg_id", "week"]
    )
    found = pd.MultiIndex.from_frame(cells[["outlet_id", "ppg_id", "week"]])
    assert not found.duplicated().any()
    assert set(found) == set(expected)


def test_a_week_of_the_calendar_that_has_not_been_sold_yet_is_no_week_of_zeros(tables, as_sources):
    data = tables()
    assert data["weeks"]["week"].max() == 21
    assert panel(as_sources(data)).week.max().execute() == 20


def test_transactions_count_baskets_and_units_count_pieces(tables, as_sources):
    data = tables()
    lines = data["pos_lines"]
    lines["ppg_id"] = lines["product_id"].map({"p1": "cola", "p2": "cola", "p3": "lemonade", "p4": "tea"})
    expected = lines[lines["outlet_id"] != "o9"].dropna(subset="ppg_id").groupby(["outlet_id", "ppg_id", "week"])
    expected = expected.agg(transactions=("basket_id", "nunique"), units=("quantity", "sum"))
    cells = panel(as_sources(tables())).to_pandas().set_index(["outlet_id", "ppg_id", "week"])
    sold = cells[cells["transactions"] > 0][["transactions", "units"]].sort_index()
    pd.testing.assert_frame_equal(sold, expected.astype("float64").sort_index(), check_index_type=False)
    assert (cells["units"][cells["transactions"] == 0] == 0).all()


def test_a_ppg_is_on_display_when_any_of_its_products_is(tables, as_sources):
    data = tables()
    data["promotions"] = pd.DataFrame(
        {
            "product_id": ["p1", "p2", "p3"],
            "outlet_id": ["o1", "o1", "o2"],
            "week": [4, 4, 5],
            "display_location": ["0", "7", "0"],
            "mailer_location": ["0", "0", "A"],
        }
    )
    cells = panel(as_sources(data)).to_pandas().set_index(["outlet_id", "ppg_id", "week"])
    assert cells.loc[("o1", "cola", 4), "display"] == 1
    assert cells.loc[("o1", "cola", 4), "mailer"] == 0
    assert cells.loc[("o2", "lemonade", 5), "mailer"] == 1
    assert cells[["display", "mailer"]].to_numpy().sum() == 2
