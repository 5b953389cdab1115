"""Training: loss, optimiser, schedule, checkpoints, and the baselines to beat."""
