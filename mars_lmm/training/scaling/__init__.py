"""Scaling laws: a ladder of sizes and budgets, run by run, and the law fitted to their losses."""
