"""Stylized facts of returns and of order flow, as tests with intervals, verdicts and power."""
