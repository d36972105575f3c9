from training.demand import Recipe
from training.folds import expanding_folds
from training.search import search


def _search(frame, trials, lines):
    folds = expanding_folds(first=14, last=40, count=2, horizon=5)
    return search(frame().query("week <= 40"), folds=folds, trials=trials, seed=7, threads=1, progress=lines.append)


def test_the_search_is_seeded_starts_at_the_default_and_tells_every_trial(frame):
    lines: list[str] = []
    found = _search(frame, 2, lines)
    assert [line.split(":")[0] for line in lines] == ["trial 1 of 2", "trial 2 of 2"]
    first = found.trials[0].recipe
    assert {**first.__dict__, "rounds": 0} == {**Recipe().__dict__, "rounds": 0}
    assert found.best.deviance == min(t.deviance for t in found.trials)
    assert _search(frame, 2, []) == found


def test_a_search_never_sees_a_held_out_label(frame):
    spoiled = frame()
    spoiled.loc[spoiled["week"] > 40, "transactions"] = 1e6
    assert _search(lambda: spoiled, 1, []) == _search(frame, 1, [])
