"""What the operating system refuses, in words."""

from __future__ import annotations

import errno

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def in_words(error: Exception) -> str:
    """An error as it is told to a user; one of the operating system's by its files, and what it says of them."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    files = " to ".join(str(file) for file in (error.filename, error.filename2) if file is not None)
    text = f"{files}: {error.strerror}" if files else error.strerror
    return f"{text}; make room, and the same command goes on" if error.errno in NO_ROOM else text
