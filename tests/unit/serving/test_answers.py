"""The bytes that are sent are those the documented schemas would send."""

from typing import Any

import httpx
import numpy as np
import pytest

from feature_repo.catalog import VIEWS
from serving.schemas import DemandAnswer, RecommendationAnswer

PPG = "m1-soft-drinks-3"


def gaps(store: Any) -> None:
    """A base price nobody knows, a view that nobody has, one that is too old."""
    for key, row in store.rows.items():
        if key[0] == "ppg_trend":
            row["base_price_13w"] = np.nan
    del store.events["outlet_trend"]
    store.events["outlet_ppg_sales"] = np.datetime64("2017-12-01T05:00:00.25", "us")


@pytest.mark.parametrize("spoil", [lambda _: None, gaps], ids=["all there", "gaps"])
def test_a_recommendation_is_sent_as_its_schema_would_send_it(client: httpx.Client, store: Any, spoil: Any) -> None:
    spoil(store)
    del store.rows["outlet_ppg_sales", "367", PPG]
    for view in VIEWS:
        store.rows.pop((view.name, "367", PPG), None)
    sent = client.get("/v1/recommendations/367?limit=30").content
    answer = RecommendationAnswer.model_validate_json(sent)
    assert answer.model_dump_json().encode() == sent
    assert len(answer.recommendations) == 26
    assert answer.not_decided[0].ppg_id == PPG
    assert (answer.recommendations[0].candidates[0].price_usd is None) == (spoil is gaps)


@pytest.mark.parametrize("spoil", [lambda _: None, gaps], ids=["all there", "gaps"])
def test_a_demand_answer_is_sent_as_its_schema_would_send_it(client: httpx.Client, store: Any, spoil: Any) -> None:
    spoil(store)
    rows = [
        {"outlet_id": "367", "ppg_id": PPG},
        {"outlet_id": "406", "ppg_id": PPG, "activation": {"display": True, "price_cut": 0.25}},
    ]
    sent = client.post("/v1/demand", json={"rows": rows}).content
    answer = DemandAnswer.model_validate_json(sent)
    assert answer.model_dump_json().encode() == sent
    assert [row.activation_name for row in answer.rows] == ["none", "display+price_cut_25"]
    assert answer.degraded == (spoil is gaps)
