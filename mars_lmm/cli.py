"""Entry points: compose a configuration, build, run. No logic of their own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path

# Idle threads sleep instead of spinning: on a busy machine a step of a small model is ten times faster so. It has to be
# said before torch loads its OpenMP runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mars_lmm.composition import build, entry
from mars_lmm.config import EvaluateConfig, SimulateConfig, TrainConfig
from mars_lmm.paths import TRAINING_SUMMARY


@entry("train", TrainConfig)
def train(config: TrainConfig, composed: DictConfig) -> float:
    """Prepare data and train; returns the best validation nats, for sweepers."""
    import lightning as L
    from lightning.pytorch.utilities import rank_zero_only

    from mars_lmm.data.datamodule import OrderDataModule
    from mars_lmm.data.prepare import prepare
    from mars_lmm.training.agreement import check_agreement
    from mars_lmm.training.fit import LAST, forget
    from mars_lmm.training.fit import train as fit
    from mars_lmm.training.order_module import OrderModule
    from mars_lmm.training.summary import summarize

    # Lightning's notes on hardware, workers and short epochs, and torch's on Lightning, say nothing that matters here.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    folder = Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
    if config.fresh and rank_zero_only.rank == 0:
        forget(folder)
    # Built before the data, so that a bad setting is an error now and not after the preparation.
    resolved = OmegaConf.to_container(composed, resolve=True)
    callbacks = [build(callback) for callback in resolved["callbacks"].values()]
    loggers = [build(logger) for logger in resolved["logger"].values()]
    trainer = build(resolved["trainer"] | {"callbacks": callbacks, "logger": loggers, "default_root_dir": str(folder)})
    check_agreement(trainer, config.optim, config.schedule, config.execution)
    prepared = prepare(config.data)

    L.seed_everything(config.seed, workers=True, verbose=False)
    module = OrderModule(config.model, config.optim, config.schedule, prepared, resolved, config.execution)
    loader = OrderDataModule(prepared, config.data.batch_size, config.data.num_workers, config.seed, config.data.block)
    last = folder / LAST
    # Not looked for in a fresh run: another rank may be about to remove it.
    checkpoint = last if not config.fresh and last.exists() else None
    metrics = fit(module, loader, trainer, folder, checkpoint, _command())
    if trainer.is_global_zero:
        summary = summarize(folder, prepared, resolved, metrics, _command())
        (folder / TRAINING_SUMMARY).write_text(json.dumps(summary, indent=1))
        baselines = ", ".join(f"{name} {value:.3f}" for name, value in summary["baselines"].items())
        print(
            f"\ntrained {summary['parameters']['total']:,} parameters for {metrics['step']:,} steps in "
            f"{metrics['seconds']:.0f} s\nvalidation: {metrics['validation_nats']:.3f} nats per order "
            f"(baselines: {baselines})\nwrote {folder}\nnext: python simulate.py run={folder}"
        )
    return metrics["validation_nats"]


@entry("simulate", SimulateConfig)
def simulate(config: SimulateConfig, composed: DictConfig) -> None:
    """Roll out a run's model from held-out starts."""
    import torch

    from mars_lmm.data.errors import DataError
    from mars_lmm.data.prepared import PreparedSet
    from mars_lmm.models.checkpoint import load_order_model, order_tokenizer
    from mars_lmm.simulation.simulate import simulate as make_rollouts

    run = Path(config.run)
    summary = run / TRAINING_SUMMARY
    if config.prepared is None and not summary.exists():
        raise DataError(summary, "no such file: give run=FOLDER of a finished train.py run, or prepared=SET")
    prepared = PreparedSet.load(config.prepared or json.loads(summary.read_text())["prepared"])
    named = run / "checkpoints" / f"{config.checkpoint}.ckpt"
    checkpoint = named if named.exists() else Path(config.checkpoint)
    if not checkpoint.exists():
        raise DataError(checkpoint, f"no such checkpoint: give checkpoint=best, last or a path; {named} is none")
    model, described = load_order_model(checkpoint, prepared.tokenizer_checksum)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    about = {"checkpoint": str(checkpoint), "command": _command()}
    tokenizer = order_tokenizer(described)
    manifest = make_rollouts(config, model.to(device), tokenizer, prepared, run / "simulation", about)
    rejected = sum(manifest["rejected"].values())
    print(
        f"\nsimulated {len(manifest['starts'])} starts x {manifest['rollouts']} rollouts x {config.minutes:g} minutes: "
        f"{manifest['orders']:,} orders, {manifest['orders_per_second']:,.0f} orders/s, "
        f"{rejected / max(manifest['orders'] + rejected, 1):.2%} rejected {manifest['rejected'] or ''}\n"
        f"wrote {run / 'simulation'}\nnext: python evaluate.py run={run}"
    )


@entry("evaluate", EvaluateConfig)
def evaluate(config: EvaluateConfig, composed: DictConfig) -> None:
    """Score a run's simulation and write its report."""
    from mars_lmm.evaluation.evaluate import evaluate as score
    from mars_lmm.training.curves import CURVES

    run = Path(config.run)
    summary = run / TRAINING_SUMMARY
    training = json.loads(summary.read_text()) if summary.exists() else None
    if training:
        training["metrics_csv"] = str(run / CURVES)
    score(run / "simulation", run / "evaluation", training, _command())
    report = run / "report.html"
    shutil.copyfile(run / "evaluation" / "report.html", report)
    print(f"\nwrote {run / 'evaluation'}\nreport: {report}\nnext: open it in a browser")


def _command() -> str:
    """The command line of this process, as a reader would repeat it."""
    program = Path(sys.argv[0]).name
    return " ".join(["python", program, *HydraConfig.get().overrides.task])
