"""The law fitted as Chinchilla's approach 3: the cross-check of variable projection, by other means.

Minimises the sum over runs of Huber's loss of log L(N, D) - log loss, with log L as a logsumexp of its three terms, by
L-BFGS from a grid of starts (Hoffmann et al. 2022, section 3.3 and appendix D). Besiroglu et al. 2024 (arXiv
2404.10102) found that the published fit had stopped early, because the loss was a mean and so too small for the
tolerances: here it is a sum, in units of the Huber threshold's square.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from mars_lmm.training.scaling.law import Law, check_runs

THRESHOLD = 1e-3
"""Where Huber's loss turns from a parabola into a line, in log nats."""
STARTS = {"exponent": (0.2, 0.7), "floor": (0.6, 0.95)}
"""Of both exponents, and of E as a share of the lowest loss."""


def fit_huber(N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> Law:
    """Fit the law to runs.

    Args:
        N: [R], parameters.
        D: [R], orders trained on.
        loss: [R], nats per order.

    Raises:
        ValueError: The runs do not determine the law.
    """
    check_runs(N, D, loss)
    log_N, log_D, log_loss = (torch.from_numpy(np.log(np.asarray(values, dtype=np.float64))) for values in (N, D, loss))
    middle_N, middle_D = log_N.mean(), log_D.mean()

    def objective(theta: Tensor) -> Tensor:
        e, a, b, alpha, beta = theta
        terms = torch.stack([e.expand_as(log_N), a - alpha * (log_N - middle_N), b - beta * (log_D - middle_D)])
        error = (terms.logsumexp(0) - log_loss) / THRESHOLD
        return torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="sum", delta=1.0)

    exponents, floors = STARTS["exponent"], STARTS["floor"]
    found = []
    for alpha, beta, floor in itertools.product(exponents, exponents, floors):
        lowest = log_loss.min().item()
        e, term = lowest + np.log(floor), lowest + np.log((1.05 - floor) / 2)
        theta = torch.tensor([e, term, term, alpha, beta], dtype=torch.float64, requires_grad=True)
        found.append(_minimise(objective, theta))
    _, (e, a, b, alpha, beta) = min(found, key=lambda one: one[0])
    with np.errstate(over="ignore"):
        E, A, B = np.exp([e, a + alpha * middle_N.item(), b + beta * middle_D.item()])
    return Law(*map(float, (E, A, B, alpha, beta)))


def _minimise(objective, theta: Tensor) -> tuple[float, np.ndarray]:
    """The lowest value that L-BFGS reaches from `theta`, and where."""
    optimizer = torch.optim.LBFGS(
        [theta],
        max_iter=300,
        tolerance_grad=1e-10,
        tolerance_change=1e-13,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective(theta)
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        value = objective(theta).item()
    return (value if np.isfinite(value) else np.inf), theta.detach().numpy()
