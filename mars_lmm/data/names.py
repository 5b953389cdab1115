"""Symbols as names of files and folders."""

from __future__ import annotations

from urllib.parse import quote, unquote

MAX_LENGTH = 100  # bytes of a file name, less what is added to it


def is_symbol(text: str) -> bool:
    """Whether a text can be an instrument's symbol: it names a file."""
    return 0 < len(file_name(text)) <= MAX_LENGTH and bool(text.strip("."))


def file_name(symbol: str) -> str:
    """A symbol as a file or folder name: BRK/B becomes BRK%2FB."""
    return quote(symbol, safe="")


def symbol_of(name: str) -> str:
    """The symbol that `file_name` made the name of."""
    return unquote(name)
