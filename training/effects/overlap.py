"""Overlap: in how many cells an activation could have gone either way, by its expected probability."""

import numpy as np

from poplift.activation import Activation
from training.effects.estimate import Estimate
from training.effects.observations import Floats

LOW, HIGH = 0.05, 0.95
USUAL_CUT = 0.2  # the expected price treatment is put on the scale of a probability by this depth


def component_overlap(estimate: Estimate) -> Floats:
    """Share of each cell's weeks in which display, mailer, price cut had a probability in LOW to HIGH.

    (outlets, ppgs, 3). That of a price cut is its expected treatment over that of the mean cut that was given.
    """
    treatment, usable = estimate.response.observations.treatment, estimate.usable
    given = treatment[..., 3][usable & (treatment[..., 3] > 0)]
    typical = float(given.mean()) if len(given) else -np.log1p(-USUAL_CUT)
    chance = np.stack(
        [estimate.exposure[..., 0], estimate.exposure[..., 1], estimate.exposure[..., 3] / typical], axis=-1
    )
    either_way = (chance >= LOW) & (chance <= HIGH) & usable[..., None]
    share: Floats = either_way.sum(axis=0) / np.maximum(usable.sum(axis=0), 1)[..., None]
    return share


def overlap_of(components: Floats, activations: tuple[Activation, ...]) -> Floats:
    """Overlap of activations, (outlets, ppgs, activations): that of the scarcest of their components; none has all."""
    runs = np.array([[a.display, a.mailer, a.price_cut > 0] for a in activations])
    return np.stack(
        [components[..., row].min(axis=-1) if row.any() else np.ones(components.shape[:2]) for row in runs], axis=-1
    )
