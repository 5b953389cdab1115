"""What `simulate.py` is told: which rollouts to make, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mars_lmm.market import types as t
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.models.sampling import SamplingConfig
from mars_lmm.simulation.agents.registry import seat_plans
from mars_lmm.simulation.engine.coding import Coding
from mars_lmm.simulation.engine.reading import READERS

AUTO = "auto"
QUEUE_RULES = {"whole": t.CLOSEST_SIZE, "newest": t.NEWEST_FIRST, "oldest": t.OLDEST_FIRST}
SESSION_RULES, VENUE_RULES = "session", "venue"
MODEL, AGENTS = "model", "agents"


@dataclass
class LimitsConfig:
    """What ends a rollout before its time; it is counted, and the others go on."""

    empty_side_seconds: float = 60.0
    """For so long a side of the book may be empty while trading is continuous."""
    rejections: int = 1000
    """So many orders of the model in a row may be rejected."""
    book_room: int = 32768
    """So many orders may join those that rest in the book at the start."""

    def __post_init__(self):
        if self.empty_side_seconds <= 0 or self.rejections < 1 or self.book_room < 1:
            raise ValueError(
                f"empty_side_seconds={self.empty_side_seconds}, rejections={self.rejections}, "
                f"book_room={self.book_room}: all must be positive"
            )


@dataclass
class WarmUpConfig:
    """A start that agents make in an empty book."""

    agents: dict[str, Any] = field(default_factory=lambda: {"noise": {"agent": "noise"}})
    """Agents by name, as in rollouts: see docs/agents.md."""
    minutes: float = 30.0
    """For how many minutes of open market they trade alone."""
    time: str = "09:30"
    """Time of day at which they begin, HH:MM[:SS]."""
    price: int = 10_000
    """The last price that they find, in ticks."""
    rules: str = "bare"
    """The session's rule file of conf/market, or a path: its phases and auctions, as for recorded sessions."""
    symbol: str = "WARMUP"
    """What the instrument is called in results."""
    seed: int = 0
    """Decides what they do."""

    def __post_init__(self):
        if self.minutes <= 0 or not 1 <= self.price <= t.MAX_PRICE // 2:
            raise ValueError(
                f"warm_up.minutes={self.minutes}, warm_up.price={self.price}: minutes must be positive, and the price "
                f"from 1 to {t.MAX_PRICE // 2} ticks"
            )
        nanoseconds("warm_up.time", self.time)
        try:
            seat_plans(self.agents)
        except ValueError as error:
            raise ValueError(f"warm_up.{error}") from error

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> WarmUpConfig:
        """The configuration of settings as a command line gives them.

        Raises:
            ValueError: They are no settings, one is unknown, or has a bad value.
        """
        if not isinstance(settings, Mapping):
            raise ValueError(f"warm_up={settings!r}: give settings, such as warm_up={{minutes: 30}}")
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ValueError(f"warm_up.{unknown[0]}: unknown; it has {', '.join(known)}")
        try:
            return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), settings))
        except OmegaConfBaseException as error:
            raise ValueError(f"warm_up.{error.full_key}: {error.msg or error}") from error


@dataclass
class RolloutConfig:
    """Which rollouts to make."""

    starts: int = 6
    """Starts, spread evenly over the held-out sessions or hours; 0: only those named below."""
    continuous: bool = False
    """Let them lie where trading is continuous for all of a rollout's minutes, without a break or an auction."""
    at: list[str] = field(default_factory=list)
    """More starts, at any moment of any session of the prepared set: "GOOG 2012-06-21 13:30:00"; the date may be left
    out where the set has one session of the symbol."""
    saved: list[str] = field(default_factory=list)
    """More starts: files of saved ones."""
    # A command line cannot fill an optional schema that is null: what it gives is checked below.
    warm_up: Any = None
    """One more start, made by agents: fields of `WarmUpConfig`, or one."""
    rollouts: int = 8
    """Rollouts from each start."""
    minutes: float = 20.0
    """Simulated time of a rollout, in minutes of open market: lunch breaks do not count."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How the model's orders are drawn."""
    rules: str = SESSION_RULES
    """session: the phases and auctions that the recorded session was replayed under; venue: all rules of its venue's
    file, prices and lots and accounts included; or another file of conf/market, or a path."""
    cancels: str = AUTO
    """What the cancels of the model, or of a baseline in its stead, take of a price's queue. whole: all of one order,
    the one whose size is nearest to the cancel's; newest, oldest: so many units from that end on. auto: whole, and
    oldest for imported MarS models."""
    attention: str = AUTO
    """How the model reads on: ring keeps the keys and values of each layer's window, window reads the last `window`
    orders anew for every order. auto: ring, which is exact for models trained here, and window for imported MarS
    models, which were trained so."""
    recalibration: int | None = None
    """To how many of the orders before a start the model's fields are fitted anew, with those before them as context;
    0: the model stays as it was trained. null: 4096, and 0 for imported MarS models."""
    agents: dict[str, Any] = field(default_factory=dict)
    """Agents by name: see docs/agents.md."""
    background: str = MODEL
    """Whose orders agents meet: the model's, or agents: only each other's, such as the replay agent's or a
    baseline's."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """What ends a rollout before its time."""
    seed: int = 0
    """With a rollout's number it decides all its random numbers."""
    books_at_once: int = 64
    """Rollouts in lockstep; more are made batch by batch."""
    graph: bool = True
    """On a GPU, run the step as one CUDA graph. Agents that look at values on the host need graph=false."""

    def __post_init__(self):
        if self.warm_up is not None and not isinstance(self.warm_up, WarmUpConfig):
            self.warm_up = WarmUpConfig.of(self.warm_up)
        if min(self.rollouts, self.books_at_once) < 1 or self.minutes <= 0:
            raise ValueError(
                f"rollouts={self.rollouts}, books_at_once={self.books_at_once}, minutes={self.minutes}: all must be "
                "positive"
            )
        if self.recalibration is not None and self.recalibration < 0:
            raise ValueError(f"recalibration={self.recalibration}: a number of orders, or 0 for none")
        if self.starts < 0 or not (self.starts or self.at or self.saved or self.warm_up):
            raise ValueError(
                f"starts={self.starts}: it must be positive, or 0 where at, saved or warm_up name other starts"
            )
        for name, choices in (
            ("cancels", (AUTO, *QUEUE_RULES)),
            ("attention", (AUTO, *READERS)),
            ("background", (MODEL, AGENTS)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose {', '.join(choices)}")
        if self.background == AGENTS and not self.agents:
            raise ValueError("background=agents: nobody would trade; give agents, such as +agents=replay")
        seat_plans(self.agents)

    def settled(self, coding: Coding) -> RolloutConfig:
        """The configuration with what is left to the model decided."""
        rule = next(name for name, rule in QUEUE_RULES.items() if rule == coding.queue_rule)
        return replace(
            self,
            cancels=rule if self.cancels == AUTO else self.cancels,
            attention=coding.attention if self.attention == AUTO else self.attention,
            recalibration=coding.recalibration if self.recalibration is None else self.recalibration,
        )
