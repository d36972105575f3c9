"""The estimate: parameters of the response by a Neyman-orthogonal score, with errors clustered by outlet and week.

For E[Y | T, W] = g(W) exp(eta(T)) the score h(W) (Y exp(-eta) - g(W)) (T - E[T | W]) is right when either nuisance is,
and first-order insensitive to both (Robins 1994, structural nested mean models; Chernozhukov et al. 2018, double
machine learning). Its variance is two-way clustered (Cameron, Gelbach, Miller 2011), since activations are drawn for
whole chain-weeks and an outlet's surprises last.
"""

from dataclasses import dataclass

import numpy as np

from training.effects.latent import Latent, StockModel, expect, shared_knowledge
from training.effects.nuisances import HISTORY, Nuisances, cross_fit
from training.effects.observations import COMPONENTS, Flags, Floats, Observations
from training.effects.response import LOSS_PRIOR, LOSSES, Response, exposures

FIRST_STEPS, LATENT_ROUNDS, EM_STEPS = 10, 4, 3
LARGEST_STEP, MOST_STEPS = 0.3, 60
CONVERGED = 1e-4


UNSETTLED = (
    "the estimate did not settle: its last steps were still large, so the panel hardly tells its parameters apart. "
    "More weeks, more outlets or activations that vary more would"
)


class EstimateError(Exception):
    """The effects cannot be estimated; the message says what the panel lacks."""


@dataclass(frozen=True)
class Estimate:
    """Parameters and their covariance, and the cubes (weeks, outlets, ppgs) that they stand on.

    `base`: expected transactions without activations; `demand`: sold, or expected latent where shelves ran empty;
    `usable`: cells that count; `exposure`: expected treatment and losses; `shape`: of the negative binomial;
    `is_settled`: whether the last step of Newton's method was as small as it should be.
    """

    response: Response
    parameters: Floats
    covariance: Floats
    base: Floats
    demand: Floats
    usable: Flags
    exposure: Floats
    shape: float
    stock: StockModel | None
    is_settled: bool = True

    @property
    def errors(self) -> Floats:
        """Standard errors of the parameters."""
        return np.sqrt(np.diag(self.covariance))

    def coefficient(self, name: str) -> tuple[float, float]:
        """A component's mean coefficient, or a loss, with its standard error."""
        at = self.response.means[name]
        return float(self.parameters[at]), float(self.errors[at])


def estimate(observations: Observations, *, seed: int, threads: int = 1, is_censored: bool | None = None) -> Estimate:
    """The effects of a panel; `is_censored` says whether to correct for empty shelves (by default: if any is flagged).

    Raises EstimateError when nothing was activated, or a component never varies beside the others.
    """
    if not (observations.treatment[observations.observed] > 0).any():
        raise EstimateError("no cell of the panel was ever activated: there is nothing to estimate")
    response = Response.of(observations)
    flagged = observations.observed & ~observations.in_stock
    correct = bool(flagged.any()) if is_censored is None else is_censored
    demand, variance, stock = observations.transactions, np.zeros(observations.shape), None
    first = within_cells(response, demand)
    if correct:
        found, first = _latent(response, flagged, first)
        demand, variance, stock = found.mean, found.variance, found.model
    usable = observations.observed.copy()
    usable[:HISTORY] = False
    lift, effect = response.effect(first)
    nuisances = cross_fit(
        observations,
        demand=demand,
        effect=effect,
        targets=np.concatenate([observations.treatment, -exposures(lift)], axis=-1),
        usable=usable,
        seed=seed,
        threads=threads,
    )
    return solve(response, first, demand=demand, variance=variance, nuisances=nuisances, usable=usable, stock=stock)


def solve(
    response: Response,
    first: Floats,
    *,
    demand: Floats,
    variance: Floats,
    nuisances: Nuisances,
    usable: Flags,
    stock: StockModel | None = None,
) -> Estimate:
    """Root of the orthogonal score by Newton's method from `first`; `variance` is that of `demand` given the sales.

    Where the steps do not become small the estimate says so: `is_settled` is False.
    """
    observations, base = response.observations, nuisances.base
    columns = response.columns(observations.treatment)
    surprise = columns - response.columns(nuisances.exposure[..., : len(COMPONENTS)])
    parameters, shape, is_settled = first.copy(), 0.0, False
    before, longest = np.zeros_like(first), LARGEST_STEP
    for _ in range(MOST_STEPS):
        lift, effect = response.effect(parameters)
        mean = base * np.exp(effect)
        if not shape:
            shape = _shape(demand, variance, mean, usable)
            weight = usable / (1 + base / shape)
        residual = np.concatenate([surprise, -exposures(lift) - nuisances.exposure[..., len(COMPONENTS) :]], axis=-1)
        score = residual * (weight * (demand * np.exp(-effect) - base))[..., None]
        # where demand was filled in, a part of its slope is the filling's
        slope = weight * (base - variance * np.exp(-effect) * shape / (shape + mean))
        gradient = response.gradient(parameters, columns, lift)
        size = gradient.shape[-1]
        weighted = residual * slope[..., None]
        jacobian = weighted.reshape(-1, size).T @ gradient.reshape(-1, size) + np.diag(response.precision)
        step = _solved(
            jacobian, score.sum(axis=(0, 1, 2)) - response.precision * (parameters - response.prior), response
        )
        if step @ before < 0:  # past the root: what the panel hardly tells would be stepped over for ever
            longest /= 2
        before = step / max(1.0, float(np.abs(step).max()) / longest)
        parameters = parameters + before
        if np.abs(step).max() < CONVERGED:
            is_settled = True
            break
    covariance = two_way_covariance(score, jacobian, weighted=weighted, gradient=gradient)
    bread = np.linalg.inv(jacobian)
    covariance += (bread * response.precision) @ bread.T  # what the prior does not know
    parameters, covariance = informed(response, parameters, covariance)
    return Estimate(
        response, parameters, covariance, base, demand, usable, nuisances.exposure, shape, stock, is_settled
    )


def two_way_covariance(score: Floats, jacobian: Floats, *, weighted: Floats, gradient: Floats) -> Floats:
    """Covariance by week plus by outlet less by both, for scores (weeks, outlets, ppgs, p); made positive if it is not.

    Weeks and outlets are left out one at a time, which is honest where a few weeks carry an activation (the CR3
    jackknife of Bell and McCaffrey 2002); `weighted` and `gradient` are the two factors of the Jacobian's summands.
    """
    both = score.sum(axis=2).reshape(-1, score.shape[-1])
    bread = np.linalg.inv(jacobian)
    covariance = -bread @ (both.T @ both) @ bread.T
    for axis in (0, 1):
        moved = []
        for at in range(score.shape[axis]):
            parts = [np.take(cube, at, axis=axis).reshape(-1, score.shape[-1]) for cube in (weighted, gradient, score)]
            moved.append(np.linalg.solve(jacobian - parts[0].T @ parts[1], parts[2].sum(axis=0)))
        shifts = np.stack(moved)
        covariance += shifts.T @ shifts * (len(shifts) - 1) / len(shifts)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    positive: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return positive


def informed(response: Response, parameters: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Parameters and covariance after the published prior of losses, weighed by the clustered errors (Kalman 1960).

    Where the panel tells dip and switching, it counts for nearly nothing; where it cannot, losses are as published
    instead of anything between all and none.
    """
    known = [response.names.index(name) for name in LOSSES]
    mean, spread = (np.array([LOSS_PRIOR[name][at] for name in LOSSES]) for at in (0, 1))
    together = covariance[np.ix_(known, known)] + np.diag(spread**2)
    gain = np.linalg.solve(together, covariance[known]).T
    updated = covariance - gain @ covariance[known]
    return parameters + gain @ (mean - parameters[known]), (updated + updated.T) / 2


def within_cells(response: Response, demand: Floats) -> Floats:
    """A first estimate: Poisson regression with a level of its own for every outlet x ppg and every week.

    It knows nothing of the sales that made managers promote, so it is where the orthogonal score starts, not ends.
    """
    observations = response.observations
    columns = response.columns(observations.treatment)
    weeks, outlets, ppgs = observations.shape
    parameters, size = response.start, len(response.names)
    for _ in range(FIRST_STEPS):
        lift, effect = response.effect(parameters)
        mean = np.where(
            observations.observed, _levels(demand, np.exp(effect), observations.observed) * np.exp(effect), 0.0
        )
        flat = mean.reshape(weeks, outlets * ppgs)
        gradient = response.gradient(parameters, columns, lift).reshape(weeks, outlets * ppgs, size)
        centre = np.einsum("wc,wcp->cp", flat, gradient) / np.maximum(flat.sum(axis=0), 1e-9)[:, None]
        gradient = (gradient - centre).reshape(-1, size)
        hessian = (gradient * flat.reshape(-1, 1)).T @ gradient + np.diag(response.precision + 1e-3)
        score = gradient.T @ (np.where(observations.observed, demand, 0.0) - mean).ravel()
        step = _solved(hessian, score - response.precision * (parameters - response.prior), response)
        parameters = parameters + step / max(1.0, float(np.abs(step).max()) / LARGEST_STEP)
        if np.abs(step).max() < 10 * CONVERGED:
            break
    return parameters


def _levels(demand: Floats, effect: Floats, observed: Flags) -> Floats:
    """Level of every outlet x ppg times that of every week, so that totals of both are met; effect is no log here."""
    sold, expected = np.where(observed, demand, 0.0), np.where(observed, effect, 0.0)
    of_week = np.ones((len(sold), 1, 1))
    for _ in range(2):
        of_cell = sold.sum(axis=0) / np.maximum((expected * of_week).sum(axis=0), 1e-9)
        of_week = (sold.sum(axis=(1, 2)) / np.maximum((expected * of_cell).sum(axis=(1, 2)), 1e-9))[:, None, None]
    levels: Floats = of_cell * of_week
    return levels


def _latent(response: Response, flagged: Flags, first: Floats) -> tuple[Latent, Floats]:
    """Latent demand of every cell as a cube, and the first estimate on it; the two are found in turns."""
    observations = response.observations
    seen = observations.observed
    demand, model, found = observations.transactions, StockModel(), None
    for turn in range(LATENT_ROUNDS):
        lift, effect = response.effect(first)
        mean = np.maximum(_levels(demand, np.exp(effect), seen) * np.exp(effect), 0.02)
        if turn:
            shared = shared_knowledge(np.where(seen, demand, mean), mean, model=model)
            model = StockModel(**{**model.__dict__, "shared": shared})
        found = expect(
            observations.transactions[seen],
            flagged=flagged[seen],
            mean=mean[seen],
            lift=lift[seen],
            model=model,
            steps=EM_STEPS,
        )
        model = found.model
        demand = _filled(seen, found.mean)
        first = within_cells(response, demand)
    if found is None:
        raise EstimateError("latent demand needs at least one turn")
    return Latent(demand, _filled(seen, found.variance), _filled(seen, found.empty), model), first


def _filled(seen: Flags, values: Floats) -> Floats:
    cube = np.zeros(seen.shape)
    cube[seen] = values
    return cube


def _shape(demand: Floats, variance: Floats, mean: Floats, usable: Flags) -> float:
    excess = ((demand - mean) ** 2 + variance - mean)[usable].sum()
    return float(np.clip((mean[usable] ** 2).sum() / max(excess, 1e-9), 0.2, 1e4))


def _solved(matrix: Floats, right: Floats, response: Response) -> Floats:
    smallest = np.abs(np.diag(matrix)) < 1e-9
    if smallest.any():
        names = ", ".join(name for name, is_empty in zip(response.names, smallest, strict=True) if is_empty)
        raise EstimateError(f"the panel says nothing about {names}: it never ran, or only together with something else")
    try:
        return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise EstimateError("two components always ran together: their effects cannot be told apart") from error
