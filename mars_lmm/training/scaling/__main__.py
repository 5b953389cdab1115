"""Train a ladder and fit its scaling law: python -m mars_lmm.training.scaling scaling=PRESET [key=value]."""

from __future__ import annotations

import shlex
import sys

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mars_lmm.composition import entry
from mars_lmm.config import TrainConfig
from mars_lmm.training.scaling.config import ScalingConfig
from mars_lmm.training.scaling.ladder import run_ladder


@entry("scaling", ScalingConfig)
def main(config: ScalingConfig, composed: DictConfig) -> None:
    """Train a ladder and fit its law; ends with 1 if a run failed."""
    command = shlex.join(["python", "-m", "mars_lmm.training.scaling", *HydraConfig.get().overrides.task])
    if run_ladder(config, training_config, command):
        sys.exit(1)


def training_config(overrides: list[str]) -> TrainConfig:
    """The configuration of `train.py` with these overrides, as far as a plan needs it.

    Raises:
        HydraException: An override is wrong.
    """
    config = compose("train", overrides)
    # The rest has the run folder in it, which is not known here.
    return TrainConfig(
        **{key: OmegaConf.to_object(config[key]) for key in ("data", "model", "optim", "schedule")},
        trainer=OmegaConf.to_container(config.trainer, resolve=True),
    )


if __name__ == "__main__":
    main()
