"""Baseline order flows, fitted to the training part of a prepared set, or to what came before each start."""

from mars_lmm.simulation.fitting.files import fit_baselines, fit_recent

__all__ = ["fit_baselines", "fit_recent"]
