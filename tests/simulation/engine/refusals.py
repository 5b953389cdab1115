"""An exchange that takes nothing, for a step."""

from mars_lmm.market import types as t


def refuse(engine, book):
    """Let the exchange take nothing of this book's orders for a step."""
    rules = engine.batch.market.books[book, t.RULES : t.RULES + t.NUM_RULE_COLUMNS]
    kept = rules.clone()
    rules[t.ENFORCED], rules[t.KINDS_TAKEN] = 1, 0
    engine.step()
    rules.copy_(kept)
