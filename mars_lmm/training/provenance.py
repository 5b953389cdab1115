"""Where a run comes from: code, versions, device and each of its starts, in `run.json` beside its checkpoints."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml

from mars_lmm.models.checkpoint import order_tokenizer
from mars_lmm.whole_files import write_text

RUN = "run.json"
RESOLVED = "config.resolved.yaml"
PACKAGES = ("mars-lmm", "torch", "lightning", "hydra-core", "omegaconf", "numpy", "numba", "datasets", "pyarrow")
_PACKAGE = Path(__file__).resolve().parents[1]


def git_state(folder: Path = _PACKAGE) -> dict[str, Any] | None:
    """The commit that a folder's code is of.

    Returns:
        `commit`, whether the work tree is `dirty`, and the `diff` of its tracked files; None without git, or where
        no repository tracks the folder (an installed package inside somebody's repository is not of that).
    """
    try:
        if not _git(folder, "ls-files", "."):
            return None
        commit = _git(folder, "rev-parse", "HEAD").strip()
        return {
            "commit": commit,
            "dirty": bool(_git(folder, "status", "--porcelain")),
            "diff": _git(folder, "diff", "HEAD"),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=60).stdout


def versions() -> dict[str, str | None]:
    """Versions of Python and of what a run rests on; None for what is not installed as a package."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def device(trainer: L.Trainer) -> dict[str, Any]:
    """What a Trainer runs on: the name and number of devices in all, how they share the work, and the precision."""
    on_cuda = trainer.strategy.root_device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(trainer.strategy.root_device) if on_cuda else _processor(),
        "type": trainer.strategy.root_device.type,
        "count": trainer.world_size,
        "nodes": trainer.num_nodes,
        "strategy": type(trainer.strategy).__name__,
        "precision": trainer.precision,
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def record_start(
    folder: Path, run: dict[str, Any], trainer: L.Trainer, step: int | None, command: str | None
) -> dict[str, Any]:
    """Add a start to the run folder's `run.json`, and write the config that it runs with.

    A diff goes into a file of its own, named by its hash, so that starts from different code keep theirs.

    Args:
        folder: The run folder.
        run: `describe_run` of the run.
        trainer: The Trainer that is about to fit.
        step: The step of the checkpoint that it goes on from; None: there is none.
        command: The command line that repeats it.

    Returns:
        The start: `time` (UTC), `resumed_from_step`, `command`, `git`, `versions` and `device`.
    """
    git = git_state()
    diff = git.pop("diff") if git else ""
    if git:
        git["diff_sha256"] = hashlib.sha256(diff.encode()).hexdigest() if diff else None
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumed_from_step": step,
        "command": command,
        "git": git,
        "versions": versions(),
        "device": device(trainer),
    }
    if not trainer.is_global_zero:
        return start
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    earlier = json.loads(file.read_text())["starts"] if file.exists() else []
    described = {
        "name": run["config"].get("name"),
        "seed": run["config"].get("seed"),
        "data": {
            "address": run["address"],
            "fingerprint": run["fingerprint"],
            "cutoff": run["cutoff"],
            "tokenizer_checksum": order_tokenizer(run).checksum,
        },
        "starts": [*earlier, start],
    }
    if diff:
        write_text(folder / f"run.{git['diff_sha256'][:8]}.diff", diff)
    write_text(folder / RESOLVED, yaml.safe_dump(run["config"], sort_keys=False, allow_unicode=True))
    write_text(file, json.dumps(described, indent=1) + "\n")
    return start
