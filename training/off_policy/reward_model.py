"""What every candidate would have brought in every logged row, predicted by models that did not see the row's week."""

import numpy as np
from numpy.typing import NDArray

from poplift.activation import CANDIDATES, Activation
from poplift.confidence import Floats

FOLDS = 4
RECIPE = {
    "objective": "poisson",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_child_samples": 40,
    "max_bin": 63,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS = 80


def predict_rewards(
    context: Floats,
    chosen: NDArray[np.intp],
    reward: Floats,
    week: NDArray[np.generic],
    *,
    candidates: tuple[Activation, ...] = CANDIDATES,
    seed: int,
) -> Floats:
    """Predicted reward (n, K) of every candidate: LightGBM, Poisson, cross-fitted by week.

    `context` (n, d) holds what was known before the decision. Weeks are dealt to folds in turn, so that each fold sees
    every season; where no other fold sold anything nothing is predicted. Raises ValueError for fewer weeks than folds,
    or a negative reward.
    """
    import lightgbm

    weeks = np.unique(week)
    if len(weeks) < FOLDS:
        raise ValueError(f"reward model: {len(weeks)} weeks; cross-fitting by week needs at least {FOLDS}")
    if reward.min() < 0:
        raise ValueError("reward model: a reward is negative; it predicts counts and money that are at least zero")
    described = np.array([[a.display, a.mailer, a.display * a.mailer, a.price_cut] for a in candidates], np.float64)
    fold = np.searchsorted(weeks, week) % FOLDS
    predicted = np.empty((len(reward), len(candidates)))
    for held_out in range(FOLDS):
        seen, asked = fold != held_out, fold == held_out
        if not reward[seen].any():  # LightGBM takes no Poisson sample of nothing but zeros
            predicted[asked] = 0.0
            continue
        rows = np.column_stack([context[seen], described[chosen[seen]]])
        model = lightgbm.train({**RECIPE, "seed": seed}, lightgbm.Dataset(rows, reward[seen]), ROUNDS)
        for k, description in enumerate(described):
            known = np.column_stack([context[asked], np.tile(description, (int(asked.sum()), 1))])
            predicted[asked, k] = np.asarray(model.predict(known))
    return predicted
