"""Numbers as JSON takes them."""

from __future__ import annotations

import json
import math

import numpy as np


def dumps(value, indent: int | None = None) -> str:
    """JSON text of nested dicts and lists that may hold numpy values; null stands for NaN and infinity."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
