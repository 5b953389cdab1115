"""Baseline order flows, fitted to the training part of a prepared set."""

from mars_lmm.simulation.fitting.files import fit_baselines

__all__ = ["fit_baselines"]
