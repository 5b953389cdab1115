"""LOB-Bench: what simulated order flow looks like beside the real one, score by score (Nagy et al. 2025)."""
