"""Scores of simulated markets against real ones, and reports."""
