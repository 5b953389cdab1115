"""The law fitted by variable projection: given the two exponents, the other three numbers are linear least squares.

Minimises the sum of squared relative errors, ((L(N, D) - loss) / loss)^2, with E, A, B >= 0: a dense grid over both
exponents with non-negative least squares at every point of it, then Levenberg-Marquardt steps in all five (arXiv
2603.22339 shows why: the grid finds the basin that descents from arbitrary starts miss). Many weightings of the same
runs are fitted at once, which makes a bootstrap cheap.

Shape letters: R runs, S weightings, I and J points of the grid.
"""

from __future__ import annotations

import numpy as np

from mars_lmm.training.scaling.law import Law, check_runs

EXPONENTS = (0.01, 3.0)
"""Where exponents are looked for."""
_GRID = np.geomspace(*EXPONENTS, 56)
_CHUNK = 64  # weightings whose grids are in memory at a time
_STEPS = 400
_LOWEST = np.array([0, 0, 0, EXPONENTS[0], EXPONENTS[0]])
_HIGHEST = np.array([np.inf, np.inf, np.inf, EXPONENTS[1], EXPONENTS[1]])
_SUPPORTS = [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,)]


def fit_projection(N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> Law:
    """Fit the law to runs.

    Args:
        N: [R], parameters.
        D: [R], orders trained on.
        loss: [R], nats per order.

    Raises:
        ValueError: The runs do not determine the law.
    """
    check_runs(N, D, loss)
    law = fit_weighted(N, D, loss, np.ones((1, len(loss))))
    return Law(*(float(value[0]) for value in vars(law).values()))


def fit_weighted(N: np.ndarray, D: np.ndarray, loss: np.ndarray, weight_SR: np.ndarray) -> Law:
    """Fit one law to each weighting of the runs.

    Args:
        N: [R], parameters.
        D: [R], orders trained on.
        loss: [R], nats per order.
        weight_SR: How often each run counts, not negative.

    Returns:
        A law of arrays [S].
    """
    # Sizes relative to their middle keep the columns near 1, whatever the exponent.
    middle_N, middle_D = (np.exp(np.log(values).mean()) for values in (N, D))
    log_N, log_D = np.log(N / middle_N), np.log(D / middle_D)
    start = [
        _best_of_grid(log_N, log_D, loss, part) for part in np.split(weight_SR, range(_CHUNK, len(weight_SR), _CHUNK))
    ]
    E, A, B, alpha, beta = _descend(np.concatenate(start), log_N, log_D, loss, weight_SR).T
    return Law(E, A * middle_N**alpha, B * middle_D**beta, alpha, beta)


def _best_of_grid(log_N: np.ndarray, log_D: np.ndarray, loss: np.ndarray, weight_SR: np.ndarray) -> np.ndarray:
    """(E, A, B, alpha, beta) [S, 5] with the least error of all points of the grid."""
    w = weight_SR / loss**2
    x, z = np.exp(-np.outer(_GRID, log_N)), np.exp(-np.outer(_GRID, log_D))  # [I, R], [J, R]
    ones = (len(w), len(_GRID), len(_GRID))
    of_N, of_D = (
        (lambda sums: np.broadcast_to(sums[:, :, None], ones)),
        (lambda sums: np.broadcast_to(sums[:, None], ones)),
    )
    gram = {
        (0, 0): np.broadcast_to(w.sum(1)[:, None, None], ones),
        (0, 1): of_N(w @ x.T),
        (1, 1): of_N(w @ (x * x).T),
        (0, 2): of_D(w @ z.T),
        (2, 2): of_D(w @ (z * z).T),
        (1, 2): (w[:, None] * x) @ z.T,
    }
    y = w * loss
    moment = (np.broadcast_to(y.sum(1)[:, None, None], ones), of_N(y @ x.T), of_D(y @ z.T))
    least, best = np.full(ones, np.inf), np.zeros((*ones, 3))
    for support in _SUPPORTS:
        solution = _solve(support, gram, moment)
        # The squared error less that of the zero law. The optimum of non-negative least squares is the plain one of
        # some support, so the least of the feasible ones is it.
        error = -sum(moment[place] * value for place, value in zip(support, solution, strict=True))
        better = (error < least) & np.all([value >= 0 for value in solution], axis=0)
        least = np.where(better, error, least)
        linear = np.zeros((*ones, 3))
        for place, value in zip(support, solution, strict=True):
            linear[..., place] = value
        best[better] = linear[better]
    place = least.reshape(len(w), -1).argmin(1)
    i, j = np.unravel_index(place, ones[1:])
    return np.concatenate([best[np.arange(len(w)), i, j], _GRID[i][:, None], _GRID[j][:, None]], axis=1)


def _solve(support: tuple[int, ...], gram: dict, moment: tuple) -> list[np.ndarray]:
    """Normal equations of some of the three columns by Cramer's rule; nan where they are singular."""

    def determinant(columns: list[list[np.ndarray]]) -> np.ndarray:
        if len(columns) == 1:
            return columns[0][0]
        rest = columns[1:]
        minors = (determinant([[*c[:k], *c[k + 1 :]] for c in rest]) for k in range(len(columns)))
        return sum((-1) ** k * columns[0][k] * minor for k, minor in enumerate(minors))

    columns = [[gram[min(i, j), max(i, j)] for j in support] for i in support]
    right = [moment[i] for i in support]
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = determinant(columns)
        return [determinant([*columns[:k], right, *columns[k + 1 :]]) / whole for k in range(len(support))]


def _descend(
    start_S5: np.ndarray, log_N: np.ndarray, log_D: np.ndarray, loss: np.ndarray, weight_SR: np.ndarray
) -> np.ndarray:
    """Levenberg-Marquardt within the bounds, each weighting with a damping of its own."""
    root = np.sqrt(weight_SR) / loss

    def errors(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        E, A, B, alpha, beta = (theta[:, k, None] for k in range(5))
        x, z = np.exp(-alpha * log_N), np.exp(-beta * log_D)
        residual = (E + A * x + B * z - loss) * root
        slopes = np.stack([np.ones_like(x), x, z, -A * x * log_N, -B * z * log_D], axis=-1) * root[..., None]
        return residual, slopes

    theta = start_S5.copy()
    damping = np.full(len(theta), 1e-3)
    residual, slopes = errors(theta)
    error = (residual**2).sum(1)
    for _ in range(_STEPS):
        gradient = np.einsum("srp,sr->sp", slopes, residual)
        hessian = np.einsum("srp,srq->spq", slopes, slopes)
        # A bound that the step would cross is not a variable.
        free = ~(((theta <= _LOWEST) & (gradient > 0)) | ((theta >= _HIGHEST) & (gradient < 0)))
        hessian *= free[:, :, None] & free[:, None, :]
        diagonal = np.einsum("spp->sp", hessian)
        damped = hessian + np.einsum("sp,pq->spq", damping[:, None] * diagonal + (diagonal == 0), np.eye(5))
        step = np.linalg.solve(damped, -(gradient * free)[..., None])[..., 0]
        tried = np.clip(theta + step, _LOWEST, _HIGHEST)
        new_residual, new_slopes = errors(tried)
        new_error = (new_residual**2).sum(1)
        better = new_error < error
        moved = np.abs(tried - theta).max(1) / np.abs(theta).max(1)
        theta[better], residual[better], slopes[better] = tried[better], new_residual[better], new_slopes[better]
        error = np.where(better, new_error, error)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-15, 1e12)
        if np.all((moved < 1e-13) | (damping >= 1e12)):
            break
    return theta
