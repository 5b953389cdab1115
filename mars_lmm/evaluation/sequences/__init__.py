"""Order flow as LOBSTER tells it: messages and the book after each, from files or from trajectories."""
