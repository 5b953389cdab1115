"""Entry points: compose a configuration, build, run. No logic of their own."""

from __future__ import annotations

import json
import logging
import os
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

    _quiet_lightning()
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
    from mars_lmm.simulation.loading import load_trained
    from mars_lmm.simulation.output.counts import table, troubles
    from mars_lmm.simulation.running.predict import check_trainer
    from mars_lmm.simulation.simulate import simulate as make_rollouts

    _quiet_lightning()
    # Built before the model is loaded, so that a bad setting is an error now.
    trainer = build(OmegaConf.to_container(composed, resolve=True)["trainer"])
    check_trainer(trainer)
    run = Path(config.run)
    trained = load_trained(run, config.checkpoint, config.prepared, device="cpu")
    about = {"checkpoint": str(trained.checkpoint), "command": _command()}
    manifest = make_rollouts(config, trained, run / "simulation", about, config.precision, trainer)
    if manifest is None:  # another process tells
        return
    print(
        f"\nsimulated {len(manifest['starts'])} starts x {manifest['rollouts']} rollouts x {config.minutes:g} minutes: "
        f"{manifest['orders']:,} orders, {manifest['orders_per_second']:,.0f} orders/s\n\n{table(manifest)}\n"
    )
    if "loss" in manifest:
        print(f"{config.precision} weights change the loss by {manifest['loss']['change']:+.4f} nats per order")
    for trouble in troubles(manifest):
        print(f"warning: {trouble}")
    print(f"wrote {run / 'simulation'}, with fan.png and depth.png\nnext: python evaluate.py run={run}")


@entry("evaluate", EvaluateConfig)
def evaluate(config: EvaluateConfig, composed: DictConfig) -> None:
    """Score a run's simulation and write its report."""
    from mars_lmm.evaluation.evaluate import evaluate as score

    _quiet_lightning()
    # Built before anything is read, so that a bad setting is an error now.
    trainer = build(OmegaConf.to_container(composed, resolve=True)["trainer"])
    scored = score(config, trainer, _command())
    left_out = scored["simulation"]["left_out"]
    if left_out:
        print(f"\nwarning: {left_out} starts are left out, as they have no real continuation, or no date")
    run = Path(config.run)
    print(f"\nwrote {run / 'evaluation'}\nreport: {run / 'report.html'}\nnext: open it in a browser")


def _quiet_lightning() -> None:
    """Leave out Lightning's notes on hardware, workers and short epochs, and torch's on Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in ("smaller than the logging interval", "does not have many workers", "LeafSpec"):
        warnings.filterwarnings("ignore", message=f".*{message}.*")


def _command() -> str:
    """The command line of this process, as a reader would repeat it."""
    program = Path(sys.argv[0]).name
    return " ".join(["python", program, *HydraConfig.get().overrides.task])
