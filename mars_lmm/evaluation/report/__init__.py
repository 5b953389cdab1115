"""The report of an evaluation: pictures and one HTML page, made from its JSON alone."""

from mars_lmm.evaluation.report.figures import draw
from mars_lmm.evaluation.report.page import render

__all__ = ["draw", "render"]
