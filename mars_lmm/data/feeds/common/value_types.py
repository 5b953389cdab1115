"""Types of settings: YAML and command lines take for numbers and truth values much that is meant as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    list: "a list",
    dict: "keys and values",
}
QUOTES = "put it in quotes, for YAML takes 16:00 for 960, 000001 for 1 and NO for false"


def check_types(schema: type, values: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse values of other types than a dataclass gives its fields.

    Args:
        schema: The dataclass.
        values: Some of its fields; other keys are passed over.
        prefix: What goes before their names in messages.

    Raises:
        ValueError: A value is of another type.
    """
    for name, hint in get_type_hints(schema).items():
        if name in values:
            _check(f"{prefix}{name}", values[name], hint)


def _check(key: str, value: Any, hint: Any) -> None:
    if is_dataclass(hint) and isinstance(value, Mapping):
        check_types(hint, value, f"{key}.")
        return
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    types = [dict if is_dataclass(choice) else get_origin(choice) or choice for choice in choices]
    if not any(_fits(value, one) for one in types):
        needed = " or ".join(WORDS.get(one, one.__name__) for one in types)
        advice = f": {QUOTES}" if str in types and isinstance(value, int | float) else ""
        raise ValueError(f"{key}={value!r}: must be {needed}{advice}")
    for choice, one in zip(choices, types, strict=True):
        if one in (list, dict) and get_args(choice) and isinstance(value, one):
            items = value.items() if one is dict else enumerate(value)
            for place, item in items:
                _check(f"{key}.{place}", item, get_args(choice)[-1])


def _fits(value: Any, one: Any) -> bool:
    if isinstance(value, bool):
        return one in (bool, Any)
    return one is Any or isinstance(value, int | float if one is float else one)
