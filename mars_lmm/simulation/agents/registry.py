"""Agents from configurations: `agents: {NAME: {agent: twap, ..., latency: {...}, account: {...}}}`.

Whatever is wrong with one is told when the configuration is composed, before a model is loaded.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mars_lmm.simulation.agents.bootstrap import BootstrapAgent
from mars_lmm.simulation.agents.cont_stoikov_talreja import ContStoikovTalrejaAgent
from mars_lmm.simulation.agents.hawkes import HawkesAgent
from mars_lmm.simulation.agents.market_maker import MarketMaker
from mars_lmm.simulation.agents.noise import NoiseAgent
from mars_lmm.simulation.agents.pov import PovAgent
from mars_lmm.simulation.agents.protocol import NANOS, Agent
from mars_lmm.simulation.agents.replay import ReplayAgent
from mars_lmm.simulation.agents.seats import ENOUGH_CASH, ENOUGH_SIZE, SeatPlan
from mars_lmm.simulation.agents.twap import TwapAgent
from mars_lmm.simulation.agents.user_file import is_user_file, load_agent

BUILT_IN: dict[str, type[Agent]] = {
    "bootstrap": BootstrapAgent,
    "cst": ContStoikovTalrejaAgent,
    "hawkes": HawkesAgent,
    "market_maker": MarketMaker,
    "noise": NoiseAgent,
    "pov": PovAgent,
    "replay": ReplayAgent,
    "twap": TwapAgent,
}
LATENCY = ("market_data", "orders")
ACCOUNT = ("cash", "position", "sellable")


def seat_plans(agents: Mapping[str, Any]) -> list[SeatPlan]:
    """The agents of a configuration, in its order: the first is number 1.

    Args:
        agents: By name: `agent`, a built-in name or a user's `FILE.py` or `FILE.py:CLASS`; the agent's arguments;
            `latency`, seconds for `market_data` and for `orders`; and `account`, what it begins with: `cash` in ticks
            times units, `position`, and `sellable`, the part of it that may be sold today. Without cash or position
            none limits it.

    Raises:
        ValueError: An agent, an argument or a file is unknown or unfit; the message lists what there is.
    """
    return [_seat_plan(name, settings) for name, settings in agents.items()]


def _seat_plan(name: str, settings: Any) -> SeatPlan:
    where = f"agents.{name}"
    if name == "model":
        raise ValueError(f"{where}: results call the model so; give the agent another name")
    if not isinstance(settings, Mapping) or not isinstance(settings.get("agent"), str):
        raise ValueError(f"{where}: give agent=NAME, one of {', '.join(BUILT_IN)}, or a Python file of your own")
    settings = dict(settings)
    made = _class_of(where, settings.pop("agent"))
    latency, account = settings.pop("latency", None), settings.pop("account", None)
    see, send = _latency(where, latency or {})
    return SeatPlan(name, _make(where, made, settings), _account(where, account or {}), see, send)


def _class_of(where: str, named: str) -> type[Agent]:
    if named in BUILT_IN:
        return BUILT_IN[named]
    if is_user_file(named):
        return load_agent(f"{where}.agent", named)
    raise ValueError(f"{where}.agent: {_unknown(named, BUILT_IN)}; or give a Python file of your own, such as mine.py")


def _make(where: str, made: type[Agent], arguments: dict[str, Any]) -> Agent:
    parameters = inspect.signature(made).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not open_ended:
        _refuse_unknown(where, arguments, (*parameters, "latency", "account"))
    try:
        inspect.signature(made).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
    try:
        return made(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _latency(where: str, latency: Any) -> tuple[int, int]:
    _refuse_unknown(f"{where}.latency", latency, LATENCY)
    for key, seconds in latency.items():
        if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"{where}.latency.{key}={seconds}: give seconds, 0 or more")
    see, send = (round(latency.get(key, 0) * NANOS) for key in LATENCY)
    return see, send


def _account(where: str, account: Any) -> tuple[int, int, int]:
    _refuse_unknown(f"{where}.account", account, ACCOUNT)
    given = {key: value for key, value in account.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{where}.account.{key}={value}: give a whole number")
    position = given.get("position", 0)
    sellable = given.get("sellable", position if "position" in given else ENOUGH_SIZE)
    return given.get("cash", ENOUGH_CASH), position, sellable


def _refuse_unknown(where: str, given: Any, known: Iterable[str]) -> None:
    known = tuple(known)
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: give {', '.join(f'{key}: ...' for key in known)}")
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: {_unknown(str(key), known)}")


def _unknown(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    close = get_close_matches(name, known, n=1)
    hint = f", did you mean {close[0]!r}? There" if close else "; there"
    return f"{name!r} is unknown{hint} is {', '.join(known)}"
