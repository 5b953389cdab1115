"""The rollout engine: a step of B rollouts, and what it is made of."""
