"""Feeds by name, and their options."""

import sys
from importlib import import_module
from types import ModuleType

import pytest

from mars_lmm.data.feeds import FEEDS, Feed, load_feed


@pytest.mark.parametrize("name", FEEDS)
def test_every_feed_loads(name):
    assert issubclass(import_module(f"mars_lmm.data.feeds.{name}").FEED, Feed)


def test_common_is_no_feed():
    assert {"lobster", "synthetic"} <= set(FEEDS)
    assert "common" not in FEEDS


def test_a_feed_of_ones_own(monkeypatch):
    module = ModuleType("their_package.feed")
    module.FEED = type(load_feed("lobster"))
    monkeypatch.setitem(sys.modules, "their_package", ModuleType("their_package"))
    monkeypatch.setitem(sys.modules, "their_package.feed", module)
    assert load_feed("their_package.feed", {"price_tick": 10}).options.price_tick == 10


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("nothing", None, "no feed 'nothing'; choose one of .*lobster.*, or give a module of your own"),
        ("no.such.module", None, "no feed 'no.such.module'"),
        ("json.decoder", None, "the module json.decoder has no FEED"),
        ("lobster", {"tick": 1}, "feed lobster: unknown option tick; this feed has price_tick"),
        ("lobster", {"price_tick": 0}, "price_tick=0: must be a whole number"),
        ("lobster", {"price_tick": 1.5}, "price_tick=1.5: must be a whole number"),
        ("lobster", {"price_tick": "one"}, "price_tick='one': must be a whole number"),
        ("lobster", {"price_tick": 10**12}, "must be a whole number from 1 to"),
    ],
)
def test_what_cannot_be_loaded(name, options, reason):
    with pytest.raises(ValueError, match=reason):
        load_feed(name, options)
