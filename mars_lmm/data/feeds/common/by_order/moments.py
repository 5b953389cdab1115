"""Messages cut into parts between moments, where no run of executions is cut in two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mars_lmm.data.feeds.common.by_order.messages import EXECUTE, EXECUTE_HIDDEN, Messages


def whole_runs(parts: Iterable[Messages]) -> Iterator[Messages]:
    """Cut messages anew, so that executions of one timestamp, and what follows them at once, stay together.

    Only such a run at the end of a part is held back for the next one: what is held stays small, however many
    messages share a timestamp.

    Args:
        parts: The messages, in order.
    """
    held = None
    for part in parts:
        messages = part if held is None else held.then(part)
        cut = _start_of_last_run(messages)
        held = messages.part(cut)
        if cut > 0:
            yield messages.part(0, cut)
    if held is not None and len(held.time) > 0:
        yield held


def _start_of_last_run(messages: Messages) -> int:
    """Where the executions of one timestamp begin that the messages end with; N if they end with another message."""
    if len(messages.time) == 0:
        return 0
    executed = (messages.kind == EXECUTE) | (messages.kind == EXECUTE_HIDDEN)
    others = np.flatnonzero(~executed | (messages.time != messages.time[-1]))
    return int(others[-1]) + 1 if len(others) else 0
