"""Benches: each measures one speed and prints one JSON object."""
