"""Times and decimal numbers as people write them, as exact integers."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?")


def nanoseconds(key: str, text: str) -> int:
    """A time of day, or a length of time, in nanoseconds.

    Args:
        key: What the text is the value of, for the message.
        text: HH:MM[:SS[.fff]].

    Raises:
        ValueError: The text is no such time.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{key}={text!r}: write a time as HH:MM[:SS[.fff]], in quotes, for YAML takes 16:00 for 960")
    hours, minutes, seconds, fraction = match.groups(default="0")
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 10**9 + int(fraction.ljust(9, "0"))


def decimal(key: str, number: str | float | Decimal) -> Decimal:
    """A number exactly as written: a float stands for its shortest decimal form.

    Raises:
        ValueError: It is no finite decimal number.
    """
    try:
        value = Decimal(str(number))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise ValueError(f"{key}={str(number)!r}: write a decimal number, such as 0.05")
    return value


def multiple(key: str, number: str | float | Decimal, unit: Decimal) -> int:
    """How many units a number is.

    Raises:
        ValueError: It is no decimal number, or not a whole number of units.
    """
    units = Fraction(decimal(key, number)) / Fraction(unit)
    if units.denominator != 1:
        raise ValueError(f"{key}={number}: not a multiple of {unit:f}")
    return units.numerator


def millionths(key: str, number: str | float | Decimal) -> int:
    """A rate in millionths.

    Raises:
        ValueError: It is no decimal number, or finer than a millionth.
    """
    return multiple(key, number, Decimal("0.000001"))
