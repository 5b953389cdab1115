"""Columns of raw files, CSV or parquet, as exact integers, row by row accounted for."""
