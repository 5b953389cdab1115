"""A user's own agent: a class in a Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from mars_lmm.simulation.agents.protocol import Agent


def is_user_file(named: str) -> bool:
    """Whether a configuration's `agent` names a file: `FILE.py` or `FILE.py:CLASS`."""
    return named.endswith(".py") or ".py:" in named


def load_agent(where: str, named: str) -> type[Agent]:
    """The agent class in a Python file, which is run.

    Args:
        where: What messages begin with.
        named: `FILE.py` if the file defines one agent, else `FILE.py:CLASS`; the path counts from the working folder.

    Raises:
        ValueError: There is no such file or class, the file cannot be run, or it is not clear which class is meant.
    """
    # The path may hold colons of its own.
    file, _, chosen = (named, "", "") if named.endswith(".py") else named.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{where}: {path}: no such file in {Path.cwd()}")
    module = _run(where, path)
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Agent) and value.__module__ == module.__name__
    }
    if not classes:
        raise ValueError(f"{where}: {path} defines no class that derives from mars_lmm.simulation.agents.Agent")
    if not chosen and len(classes) > 1:
        raise ValueError(f"{where}: {path} defines {', '.join(classes)}; choose one with {path}:NAME")
    found = classes.get(chosen or next(iter(classes)))
    if found is None:
        raise ValueError(f"{where}: {path} defines no agent {chosen}; there is {', '.join(classes)}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"{where}: {path}: {found.__name__} has no {missing}")
    return found


def _run(where: str, path: Path) -> ModuleType:
    """The file as a module of its own, so that two files of one name do not meet."""
    path = path.resolve()
    name = f"mars_lmm_agent_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{where}: {path} cannot be run: {type(error).__name__}: {error}") from error
    return module
