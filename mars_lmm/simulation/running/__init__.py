"""Many batches of rollouts through Lightning's predict loop."""
