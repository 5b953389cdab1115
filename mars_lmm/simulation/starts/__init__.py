"""Starts: what rollouts begin with."""
