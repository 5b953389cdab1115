"""Types of settings, feed by feed; what YAML makes of text is told."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from mars_lmm.data.feeds import load_feed
from mars_lmm.data.feeds.common.value_types import check_types


@dataclass
class Inner:
    name: str = ""
    words: dict[str, str] = field(default_factory=dict)


@dataclass
class Outer:
    text: str | None = None
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    any: Any = None
    names: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": 960}, "text=960: must be text or null: put it in quotes, for YAML takes 16:00 for 960"),
        ({"text": False}, "text=False: must be text or null: put it in quotes"),
        ({"text": ["a"]}, "text=['a']: must be text or null"),
        ({"whole": "5"}, "whole='5': must be a whole number"),
        ({"whole": True}, "whole=True: must be a whole number"),
        ({"whole": 1.5}, "whole=1.5: must be a whole number"),
        ({"number": "1"}, "number='1': must be a number"),
        ({"flag": 1}, "flag=1: must be true or false"),
        ({"names": "a"}, "names='a': must be a list"),
        ({"names": ["a", 1]}, "names.1=1: must be text"),
        ({"inner": []}, "inner=[]: must be keys and values"),
        ({"inner": {"name": 7}}, "inner.name=7: must be text"),
        ({"inner": {"words": {"A": 1}}}, "inner.words.A=1: must be text"),
    ],
)
def test_a_value_of_another_type_is_named(values, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_types(Outer, values)
    assert str(caught.value).startswith(message)


def test_good_values():
    check_types(Outer, {"text": None, "whole": 3, "number": 3, "flag": True, "any": object(), "names": ["a"]})
    check_types(Outer, {"inner": {"name": "x", "words": {"A": "b"}}, "unknown": 5})


@pytest.mark.parametrize(
    ("feed", "options"),
    [
        ("bitstamp", {"symbol": 2025}),
        ("databento", {"zone": 5}),
        ("databento", {"publisher": "abc"}),
        ("databento", {"close": 960}),
        ("databento", {"tick": "1e15"}),
        ("databento", {"tick": None}),
        ("itch", {"date": 20190130}),
        ("sse", {"date": 20230207}),
        ("lobster", {"price_tick": True}),
        ("synthetic", {"minutes": "8"}),
    ],
)
def test_the_options_of_every_feed_are_checked(feed, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"feed {feed}: {name}={value}|feed {feed}: {name}='{value}'"):
        load_feed(feed, options)
