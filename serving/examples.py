"""Example answers of the OpenAPI document: figures are made up, forms are checked by a test."""

from typing import Any

from poplift.assumptions import Assumptions
from serving.planner.rules import PlanPolicy, PlanRules
from serving.planner.summary import CAUTION
from serving.policy import BASIS_SENTENCE

Json = dict[str, Any]
PPG = "m1208-soft-drinks-12-18-15pk-can-car"
DECISION = "0c4a8c53-5e1b-4f0e-9a55-0f6c3f4f2d11"
_REQUEST = "5b1f7d64-2f0e-4c0a-8f5e-6a0d3b7c9e21"
_NONE = {"display": False, "mailer": False, "price_cut": 0.0}
_MAILER = _NONE | {"mailer": True}
_ASSUMPTIONS = Assumptions().model_dump(mode="json")
_ENVELOPE: Json = {
    "request_id": _REQUEST,
    "release": {"id": "r-9c1f0a7be3d2", "model_name": "demand", "model_version": "3", "policy": "net-gain"},
    "business_time": "2018-01-02T05:00:00Z",
    "week_start": "2018-01-01",
    "basis": "predictive",
    "basis_note": BASIS_SENTENCE,
    "degraded": False,
    "feature_ages": [{"view": "ppg_trend", "oldest_event_time": "2018-01-01T05:00:00Z", "age_hours": 24.0}],
}
_BASE: Json = {
    "activation": _NONE,
    "activation_name": "none",
    "price_usd": 4.99,
    "transactions": 3.1,
    "transactions_low": 1.0,
    "transactions_high": 6.0,
    "units": 4.4,
    "predicted_gain": 0.0,
    "assumed_cost_usd": 0.0,
    "net_gain": 0.0,
    "propensity": 0.1,
}
_CHOSEN: Json = _BASE | {
    "activation": _MAILER,
    "activation_name": "mailer",
    "transactions": 4.6,
    "transactions_low": 2.0,
    "transactions_high": 8.0,
    "units": 6.2,
    "predicted_gain": 1.5,
    "assumed_cost_usd": 0.5,
    "net_gain": 1.375,
    "propensity": 0.9,
}
_GAINS = {"predicted_gain", "assumed_cost_usd", "net_gain", "propensity"}
_PREDICTED = {name: value for name, value in _CHOSEN.items() if name not in _GAINS}
DEMAND: Json = _ENVELOPE | {
    "rows": [{"decision_id": DECISION, "outlet_id": "367", "ppg_id": PPG, **_PREDICTED, "degraded": False, "flags": []}]
}
RECOMMENDATIONS: Json = _ENVELOPE | {
    "outlet_id": "367",
    "assumptions": _ASSUMPTIONS,
    "recommendations": [
        {
            "rank": 1,
            "decision_id": DECISION,
            "ppg_id": PPG,
            "recommended": _CHOSEN,
            "arm": "policy",
            "arm_note": "the policy's choice",
            "experiment": None,
            "propensity": 0.9,
            "abstained": False,
            "abstained_because": None,
            "reasons": [
                {
                    "feature": "plan_mailer",
                    "value": 1.0,
                    "unit": "flag",
                    "effect": 1.4,
                    "scale": "times",
                    "text": "in the mailer: times 1.40",
                }
            ],
            "candidates": [_BASE, _CHOSEN],
            "degraded": False,
            "flags": [],
        }
    ],
    "not_decided": [{"ppg_id": "m69-soft-drinks-2-liter", "reason": "no history at this outlet"}],
}
OUTLETS: Json = {
    "request_id": _REQUEST,
    "outlets": [RECOMMENDATIONS],
    "unknown": [{"outlet_id": "99999", "reason": "outlet '99999' is not in the feature store"}],
}
_LINE: Json = {
    "outlet_id": "367",
    "ppg_id": PPG,
    "activation": "mailer",
    "reason": "runs",
    "why": "chosen: +1.5 transactions a week for 0.50 USD",
    "incremental_transactions": {"estimate": 1.5, "low": 0.9, "high": 2.1},
    "incremental_units": {"estimate": 1.9, "low": 1.1, "high": 2.7},
    "incremental_margin_usd": {"estimate": 4.2, "low": 2.0, "high": 6.4},
    "cost_usd": 0.5,
    "net_value_usd": 3.7,
    "value_per_usd": 7.4,
}
_TOTALS: Json = {
    "lines": 1,
    "outlets": 1,
    "budget_usd": 20.0,
    "cost_usd": 0.5,
    "left_usd": 19.5,
    "net_value_usd": 3.7,
    "incremental_margin_usd": _LINE["incremental_margin_usd"],
    "incremental_transactions": _LINE["incremental_transactions"],
    "incremental_units": _LINE["incremental_units"],
    "shadow_price": 0.0,
    "bound_usd": 3.7,
    "gap_share": 0.0,
    "is_proven": True,
}
_PLAN: Json = {
    "week_start": "2018-01-01",
    "caution": CAUTION,
    "effects_digest": "7d9f2c1b0a3e",
    "policy": PlanPolicy().model_dump(mode="json"),
    "assumptions": _ASSUMPTIONS,
    "totals": _TOTALS,
    "not_run_reasons": {"thin_evidence": 12},
}
PLAN: Json = _PLAN | {
    "request_id": _REQUEST,
    "business_time": "2018-01-02T05:00:00Z",
    "effects_fitted_at": "2018-01-01T05:00:00Z",
    "effects_note": None,
    "refused_rows": {},
    "lines": [_LINE],
    "not_run": [],
}
PUBLISHED: Json = _PLAN | {
    "plan_id": "2018-01-01-3f9c2a7be114",
    "rules": PlanRules(budget_usd=20.0).model_dump(mode="json"),
    "lines": [_LINE | {"runs": True}],
    "next_cursor": "MjAxOC0wMS0wMS0zZjljMmE3YmUxMTQuMTAw",
}
EVENTS: Json = {"request_id": _REQUEST, "state": "applied", "accepted": 1, "duplicates": 0, "quarantined": []}
EXECUTIONS: Json = {
    "request_id": _REQUEST,
    "accepted": 1,
    "duplicates": 0,
    "quarantined": [{"row": 1, "column": "decision_id", "rule": "unknown"}],
}
ROLLED_BACK: Json = {
    "request_id": _REQUEST,
    "release_id": "41d07be99a0c",
    "taken_back": "9c1f0a7be3d2",
    "model_version": "2",
}
ALIVE: Json = {"status": "alive"}
READY: Json = {"status": "ready", "release_id": "r-9c1f0a7be3d2", "release_error": None}
VERSION: Json = {
    "poplift": "0.1.0",
    "business_time": "2018-01-02T05:00:00+00:00",
    "release_id": "r-9c1f0a7be3d2",
    "release_versions": {"model_name": "demand", "model_version": "3"},
    "release_error": None,
    "challenger_id": "r-41d07be99a0c",
    "challenger_share": 0.1,
    "challenger_error": None,
}


def shows(example: Json) -> Json:
    """An answer of the document with this example."""
    return {"content": {"application/json": {"example": example}}}
