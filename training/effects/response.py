"""How demand answers to activations: log-linear lift by outlet and ppg, less the dip afterwards and switching.

The form is that of multiplicative sales response (Hanssens, Parsons, Schultz 2001, Market Response Models): expected
transactions are base x exp(lift), and a share of each lift is missing from the ppg one and two weeks later and from
the rest of the own portfolio in the same week.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from poplift.activation import Activation
from training.effects.observations import COMPONENTS, Floats, Observations, treatment_of

LOSSES = ("dip_1w", "dip_2w", "switching")
FEW_PPGS = 10  # up to here every ppg has its own response; beyond, price and volume of the ppg tell them apart
# Prior sd of how far outlets and ppgs respond apart, on the scale of the component: weak, for sparse panels.
SPREAD = {"display": 0.3, "mailer": 0.3, "both": 1.0, "price": 1.5, "losses": 1.0}
# Prior mean and sd of losses, for panels that cannot tell them: of a soft-drink promotion's bump about a third is taken
# from other brands and a third from later weeks (Teunter 2002), a part of either from one's own.
LOSS_PRIOR = {"dip_1w": (0.10, 0.15), "dip_2w": (0.05, 0.10), "switching": (0.20, 0.20)}


@dataclass(frozen=True)
class Response:
    """The response of one panel; a parameter vector holds the coefficients of every component, then LOSSES.

    `basis` (outlets, ppgs, m) is what the response varies with: one, the outlet's attributes, the ppg.
    """

    observations: Observations
    basis: Floats
    basis_names: tuple[str, ...]

    @classmethod
    def of(cls, observations: Observations) -> "Response":
        """Display, mailer and price vary with the outlet's attributes and the ppg; display with mailer does not."""
        _, outlets, ppgs = observations.shape
        told, names = _ppg_basis(observations)
        parts = [
            np.ones((outlets, ppgs, 1)),
            np.broadcast_to(observations.attributes[:, None, :], (outlets, ppgs, observations.attributes.shape[1])),
            np.broadcast_to(told[None], (outlets, *told.shape)),
        ]
        return cls(observations, np.concatenate(parts, axis=-1), ("mean", *observations.attribute_names, *names))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        terms = [
            f"{c}:{n}" for c, width in zip(COMPONENTS, self._widths, strict=True) for n in self.basis_names[:width]
        ]
        return (*terms, *LOSSES)

    @cached_property
    def means(self) -> dict[str, int]:
        """Position of each component's mean coefficient and of each loss."""
        return {name.removesuffix(":mean"): at for at, name in enumerate(self.names) if name.endswith(":mean")} | {
            name: self.names.index(name) for name in LOSSES
        }

    @cached_property
    def precision(self) -> Floats:
        """Diagonal of the prior precision: none on means, weak on losses and on how outlets and ppgs differ."""
        kinds = ["losses" if name in LOSSES else name.split(":")[0] for name in self.names]
        return np.array(
            [0.0 if n.endswith(":mean") else SPREAD[kind] ** -2 for n, kind in zip(self.names, kinds, strict=True)]
        )

    @cached_property
    def prior(self) -> Floats:
        """Prior means of the parameters: of losses as published, zero for how outlets and ppgs differ."""
        return np.array([LOSS_PRIOR.get(name, (0.0, 0.0))[0] for name in self.names])

    @property
    def start(self) -> Floats:
        """Where iterations begin: mild effects."""
        parameters = np.zeros(len(self.names))
        for name, value in {"display": 0.2, "mailer": 0.3, "price": 1.5, "dip_1w": 0.05, "switching": 0.05}.items():
            parameters[self.means[name]] = value
        return parameters

    def lift(self, parameters: Floats, treatment: Floats) -> Floats:
        """Log-lift of treatments (..., outlets, ppgs, COMPONENTS): (..., outlets, ppgs)."""
        total = np.zeros(treatment.shape[:-1])
        for k, coefficients in enumerate(self._split(parameters)):
            total += treatment[..., k] * (self.basis[..., : len(coefficients)] @ coefficients)
        return total

    def columns(self, treatment: Floats) -> Floats:
        """Derivative of the lift by its coefficients, (..., outlets, ppgs, coefficients)."""
        parts = [treatment[..., k, None] * self.basis[..., :width] for k, width in enumerate(self._widths)]
        return np.concatenate(parts, axis=-1)

    def effect(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Lift of what ran, and its log-effect with losses, both (weeks, outlets, ppgs)."""
        lift = self.lift(parameters, self.observations.treatment)
        return lift, lift - exposures(lift) @ parameters[-len(LOSSES) :]

    def gradient(self, parameters: Floats, columns: Floats, lift: Floats) -> Floats:
        """Derivative of the log-effect by all parameters, (weeks, outlets, ppgs, parameters)."""
        first, second, switched = parameters[-len(LOSSES) :]
        through = columns - first * earlier(columns, 1) - second * earlier(columns, 2)
        through -= switched * (columns.sum(axis=2, keepdims=True) - columns) / max(columns.shape[2] - 1, 1)
        return np.concatenate([through, -exposures(lift)], axis=-1)

    def candidate_lift(self, parameters: Floats, activations: tuple[Activation, ...]) -> Floats:
        """Log-lift of every activation at every outlet and ppg, (outlets, ppgs, activations)."""
        cells = self.basis.shape[:2]
        lifts = [self.lift(parameters, np.broadcast_to(t, (*cells, len(t)))) for t in treatments(activations)]
        return np.stack(lifts, axis=-1)

    @property
    def _widths(self) -> tuple[int, ...]:
        full = len(self.basis_names)
        return tuple(1 if component == "both" else full for component in COMPONENTS)

    def _split(self, parameters: Floats) -> list[Floats]:
        return np.split(parameters[: sum(self._widths)], np.cumsum(self._widths)[:-1])


def treatments(activations: tuple[Activation, ...]) -> Floats:
    """The treatment of every activation, (activations, COMPONENTS)."""
    display, mailer, cut = (
        np.array([float(getattr(a, name)) for a in activations]) for name in ("display", "mailer", "price_cut")
    )
    return treatment_of(display, mailer, cut)


def earlier(cube: Floats, weeks: int) -> Floats:
    """The cube as it was `weeks` weeks before; zero where nobody looked."""
    moved = np.zeros_like(cube)
    moved[weeks:] = cube[:-weeks]
    return moved


def exposures(lift: Floats) -> Floats:
    """What LOSSES are shares of, on a new last axis: own lift one and two weeks ago, mean lift of the other ppgs."""
    others = (lift.sum(axis=2, keepdims=True) - lift) / max(lift.shape[2] - 1, 1)
    return np.stack([earlier(lift, 1), earlier(lift, 2), others], axis=-1)


def _ppg_basis(observations: Observations) -> tuple[Floats, tuple[str, ...]]:
    ppgs = len(observations.ppgs)
    if ppgs <= FEW_PPGS:  # contrasts with the mean ppg
        return (np.eye(ppgs) - 1 / ppgs)[:, : ppgs - 1], observations.ppgs[: ppgs - 1]
    sold = observations.transactions.sum(axis=(0, 1)) / np.maximum(observations.observed.sum(axis=(0, 1)), 1)
    told = np.log(np.stack([observations.base_price, np.maximum(sold, 1e-3)], axis=-1))
    return (told - told.mean(axis=0)) / np.maximum(told.std(axis=0), 1e-9), ("ppg_price", "ppg_volume")
