"""Tokenizers: what an order looked like to the market, and how that becomes tokens and features."""
