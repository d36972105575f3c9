"""The benchmark of the planner is repeated on other problems by another seed."""

import importlib

import pytest


@pytest.fixture
def planner(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    return importlib.import_module("planner")


def test_blocks_and_fuzzed_problems_are_drawn_from_the_seed_on(planner, monkeypatch):
    blocks, fuzzed = set(), []

    def ask(_arm, _form, seed):
        blocks.add(seed)
        return {"value": 1.0, "bound": 1.0, "broken": 0, "seconds": 0.1, "megabytes": 1.0}

    monkeypatch.setattr(planner, "ask", ask)
    monkeypatch.setattr(planner, "FUZZED", 3)
    draw = planner.small_problem
    monkeypatch.setattr(planner, "small_problem", lambda seed: fuzzed.append(seed) or draw(seed))
    monkeypatch.setattr(planner.Result, "save", lambda _: None)  # these are no figures to keep
    planner.main(2, 40)
    assert blocks == {40, 41}
    assert fuzzed == [40, 41, 42]
