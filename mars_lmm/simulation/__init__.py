"""Simulation: starts, the rollout engine, trajectories."""
