"""Rule files: reading a venue's rules from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mars_lmm.data.errors import DataError
from mars_lmm.market.rules import MarketRules
from mars_lmm.paths import CONF


def load_rules(name: str | Path, overrides: Sequence[str] = ()) -> MarketRules:
    """A venue's rules.

    Args:
        name: One of the packaged files, such as sse_main, or the path of a .yaml file.
        overrides: Changes to it as on a command line: "prices.cage.rate=0", "halts.latest=14:57".

    Raises:
        DataError: There is no such file, a key is unknown, or a value is of the wrong type or out of range.
    """
    path = _path(name)
    try:
        config = OmegaConf.load(path)
        if not OmegaConf.is_dict(config):
            raise ValueError("a rule file holds keys and values")
        for key, value in map(_parse, overrides):
            OmegaConf.update(config, key, value)
        # The file is checked against the schema as it is laid over it.
        rules = OmegaConf.structured(MarketRules)
        for key, value in config.items():
            OmegaConf.update(rules, str(key), value)
        return OmegaConf.to_object(rules)
    except OmegaConfBaseException as error:
        # The first line says what is wrong; the rest is about OmegaConf's classes.
        raise DataError(path, f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except (ValueError, HydraException, YAMLError) as error:
        raise DataError(path, str(error)) from error


@cache
def session_rules(name: str) -> MarketRules:
    """The phases and auctions of a rule file, and nothing else: what recorded orders are replayed under.

    What bounds an order's price and size was checked by the venue, and an order that was rebuilt from what it filled
    need not keep it.

    Args:
        name: As in `load_rules`.

    Raises:
        DataError: As `load_rules`.
    """
    rules = load_rules(name)
    return MarketRules(session=rules.session, auction=rules.auction)


def _path(name: str | Path) -> Path:
    is_path = Path(name).suffix in (".yaml", ".yml")
    path = Path(name) if is_path else Path(CONF, "market", f"{name}.yaml")
    if not path.is_file():
        presets = sorted(preset.stem for preset in Path(CONF, "market").glob("*.yaml"))
        raise DataError(name, f"no such rule file; choose {', '.join(presets)}, or give the path of a .yaml file")
    return path


def _parse(text: str) -> tuple[str, object]:
    (override,) = OverridesParser.create().parse_overrides([text])
    if override.type != OverrideType.CHANGE or override.is_sweep_override():
        raise ValueError(f"{text}: write a change as key=value")
    return override.key_or_group, override.value()
