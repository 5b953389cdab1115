"""A question that the report answers, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

YES, NO, UNSURE = "yes", "no", "cannot tell"


@dataclass(frozen=True)
class Verdict:
    """One question and its answer.

    Attributes:
        question: What was asked.
        answer: yes, no or cannot tell.
        text: Why, with the numbers.
        link: The section of the page that shows more.
    """

    question: str
    answer: str
    text: str
    link: str


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
