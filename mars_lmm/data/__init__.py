"""Data: feeds, the order flow, replay, preparation, and what training reads."""
