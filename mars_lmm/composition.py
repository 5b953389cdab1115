"""Composed configurations: checked against their schemas, built, and errors told in a line."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import hydra
from hydra.errors import ConfigCompositionException, HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mars_lmm.os_errors import in_words
from mars_lmm.paths import CONF

Config = TypeVar("Config")

_LABEL = 60  # characters of a sweep folder's name that say what is in it

ALLOWED_TARGETS = ("lightning.", "mars_lmm.", "torch.", "torchmetrics.")


def entry(name: str, schema: type) -> Callable[[Callable[[Any, DictConfig], Any]], Callable[[], None]]:
    """Make a function a Hydra entry point that checks its configuration and ends with a message on bad input.

    Args:
        name: The file in `conf`.
        schema: What it has to be an instance of; the function gets that and the composed configuration.
    """

    def decorate(run: Callable[[Any, DictConfig], Any]) -> Callable[[], None]:
        @hydra.main(config_path=CONF, config_name=name, version_base="1.3")
        @functools.wraps(run)
        def main(config: DictConfig) -> Any:
            try:
                return run(typed(config, schema), config)
            except (ValueError, FloatingPointError, OSError, HydraException) as error:
                if os.environ.get("HYDRA_FULL_ERROR") == "1":
                    raise
                print(f"error: {in_words(error)}", file=sys.stderr)
                sys.exit(1)

        return main

    return decorate


def job_folder(overrides: list[str]) -> str:
    """The name of a sweep job's folder: what was overridden, in short, and a hash of all of it.

    Jobs of other settings never share a folder, whatever their numbers; the same job finds its own again.
    """
    digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
    # model.width=64 is told as width=64
    named = "_".join(re.sub(r"^[^=]*\.", "", override) for override in overrides)
    return re.sub(r"[^A-Za-z0-9=.,_-]+", "-", named)[:_LABEL] + f"-{digest}"


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def typed(config: DictConfig, schema: type[Config]) -> Config:
    """The composed configuration as an instance of its schema.

    Raises:
        ConfigCompositionException: A key is unknown (also one added with `+`), missing, or has a bad value.
    """
    _refuse_unknown_keys(config, schema, "")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigCompositionException(f"give a value: {', '.join(f'{key}=...' for key in missing)}")
    try:
        return OmegaConf.to_object(config)
    except ValueError as error:
        raise ConfigCompositionException(str(error)) from error


def _refuse_unknown_keys(config: DictConfig, schema: type, prefix: str) -> None:
    known = {entry.name: entry for entry in fields(schema)}
    for key in config:
        if key not in known:
            raise ConfigCompositionException(f"unknown key {prefix}{key}; {schema.__name__} has {', '.join(known)}")
        nested = known[key].default_factory
        if is_dataclass(nested):
            _refuse_unknown_keys(config[key], nested, f"{prefix}{key}.")


def build(config: dict[str, Any]) -> Any:
    """Instantiate a `_target_` configuration.

    Raises:
        ConfigCompositionException: A target is outside the packages that configurations may name, or its arguments
            do not fit it.
    """
    _check_targets(config)
    try:
        return instantiate(config, _convert_="all")
    except Exception as error:
        # Hydra wraps what was raised, and shows it as Python does.
        raise ConfigCompositionException(f"{config.get('_target_')}: {error.__cause__ or error}") from error


def _check_targets(config: Any) -> None:
    if isinstance(config, dict):
        target = config.get("_target_", ALLOWED_TARGETS[0])
        if not str(target).startswith(ALLOWED_TARGETS):
            raise ConfigCompositionException(
                f"_target_: {target} is not allowed; a configuration may name {', '.join(ALLOWED_TARGETS)}"
            )
    children = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for child in children:
        _check_targets(child)
