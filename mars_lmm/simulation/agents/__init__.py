"""Agents: traders that inject their own orders into rollouts."""

from mars_lmm.simulation.agents.protocol import Agent, Decision, View

__all__ = ["Agent", "Decision", "View"]
