"""The difference between two arms of outlets, adjusted for what was known of each outlet before."""

import numpy as np
from numpy.typing import NDArray

from poplift.confidence import Estimate, Floats

LEAST_OUTLETS = 5  # per arm and beyond the covariates: below it no error can be estimated


class TooFewOutletsError(Exception):
    """An arm has too few outlets for an estimate; the message says how many are missing."""


def adjusted_difference(outcome: Floats, treated: NDArray[np.bool_], covariates: Floats | None = None) -> Estimate:
    """What the treatment added in the treated outlets, as the mean of an outcome with one value per outlet.

    Regression on arm, covariates (n, k) and their interactions (Lin 2013, Annals of Applied Statistics 7(1)): CUPED
    (Deng et al. 2013) that cannot be worse than the plain difference in large samples. Covariates are centred at the
    treated outlets, since an effect that grows with the outlet is another one in all outlets than in those that had it
    (Imbens and Rubin 2015, Causal Inference, section 7.6). The error is robust to heteroskedasticity (HC2), and
    clustered by outlet because an outlet is one row; its degrees of freedom are those of the arms by their part in it
    (Welch and Satterthwaite). Raises TooFewOutletsError, and ValueError for a value that is not finite.
    """
    outlets = len(outcome)
    centred = np.zeros((outlets, 0)) if covariates is None else np.asarray(covariates, np.float64).reshape(outlets, -1)
    if not (np.isfinite(outcome).all() and np.isfinite(centred).all()):
        raise ValueError("readout: an outcome or covariate of an outlet is not finite; every outlet needs both")
    # A covariate without any spread says nothing, and would make the design singular.
    centred = centred[:, np.ptp(centred, axis=0) > 0] if outlets else centred
    smallest = int(min(treated.sum(), (~treated).sum()))
    least = LEAST_OUTLETS + centred.shape[1]
    if smallest < least:
        raise TooFewOutletsError(f"the smaller arm has {smallest} outlets with outcomes; at least {least} are needed")
    centred = (centred - centred[treated].mean(axis=0)) / np.where(centred.std(axis=0) > 0, centred.std(axis=0), 1.0)
    arm = treated.astype(np.float64)[:, None]
    design = np.hstack([np.ones((outlets, 1)), arm, centred, centred * arm])
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ outcome
    residuals = outcome - design @ coefficients
    leverage = np.clip(np.einsum("ij,jk,ik->i", design, inverse, design), 0.0, 0.999)
    each = (inverse @ design.T)[1] ** 2 * residuals**2 / (1 - leverage)
    freedom = np.array([treated.sum(), (~treated).sum()]) - 1 - centred.shape[1]
    by_arm = np.array([each[treated].sum(), each[~treated].sum()])
    variance = float(by_arm.sum())
    degrees = variance**2 / float((by_arm**2 / freedom).sum()) if variance else float(freedom.sum())
    return Estimate(float(coefficients[1]), float(np.sqrt(variance)), degrees)
