from pathlib import Path

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from mars_lmm.composition import build, typed
from mars_lmm.config import EvaluateConfig, SimulateConfig, TrainConfig
from mars_lmm.data.prepare import PrepareConfig
from mars_lmm.models.sizes import build_on_meta, read_config
from mars_lmm.paths import CONF
from mars_lmm.training.checkpoints import LastCheckpoint

EXPERIMENTS = sorted(path.stem for path in Path(CONF, "experiment").glob("*.yaml"))
DATA = sorted(path.stem for path in Path(CONF, "data").glob("*.yaml"))
MODELS = sorted(path.stem for path in Path(CONF, "model").glob("*.yaml"))


def composed(name, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose(name, overrides=list(overrides), return_hydra_config=True)
    OmegaConf.set_struct(config, False)
    config.hydra.runtime.output_dir = "outputs/test"
    HydraConfig.instance().set_config(config)
    config.pop("hydra")
    return config


def train_config(*overrides):
    return typed(composed("train", *overrides), TrainConfig)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment):
    synthetic = composed("train", f"experiment={experiment}").data.feed == "synthetic"
    config = train_config(f"experiment={experiment}", *([] if synthetic else ["data.path=somewhere"]))
    assert config.name == experiment
    assert config.data.row_length >= config.model.window


@pytest.mark.parametrize("feed", [name for name in DATA if name != "mixed"])
def test_every_feed_composes(feed):
    overrides = [] if feed == "synthetic" else ["data.path=somewhere"]
    if feed == "mapped":
        overrides.append(f"data.options.mapping={CONF}/mapping/lobster.yaml")
    config = typed(composed("prepare", f"data={feed}", *overrides), PrepareConfig)
    assert (config.data.feed, config.data.name) == (feed, feed)


@pytest.mark.parametrize(("optim", "rate"), [("adamw", "0.01"), ("muon", "null")])
@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_every_optimiser_and_schedule_composes(optim, rate, schedule):
    config = train_config(f"optim={optim}", f"optim.learning_rate={rate}", f"schedule={schedule}")
    assert config.optim.name == optim
    assert config.optim.learning_rate == {"0.01": 0.01, "null": None}[rate]
    assert config.schedule.decay == schedule


def test_callbacks_build():
    config = train_config("callbacks.divergence.patience=9")
    callbacks = {name: build(callback) for name, callback in config.callbacks.items()}
    assert isinstance(callbacks["last"], LastCheckpoint)
    assert callbacks["divergence"].patience == 9


def test_several_feeds_compose():
    feeds = "data.feeds=[{feed: lobster, path: somewhere}, {feed: sse, path: [here, there]}]"
    config = typed(composed("prepare", "data=mixed", feeds), PrepareConfig)
    assert [feed.feed for feed in config.data.all_feeds] == ["lobster", "sse"]
    assert config.data.all_feeds[1].paths == ["here", "there"]


@pytest.mark.parametrize("size", MODELS)
def test_every_model_is_what_it_says(size):
    config = train_config(f"model={size}")
    assert config.model == read_config(size)
    if size in ("small", "tiny"):
        assert build_on_meta(config.model).num_parameters()["total"] < 3_000_000
    elif size == "default":
        assert (config.model.width, config.model.layers, config.model.window) == (256, 8, 1024)


def test_windows_of_layers_compose():
    assert train_config("model=default", "model.windows=[128,1024]").model.layer_windows == [128, 1024] * 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.width=wide"], "model.width"),
        (["data.row_length=1.5"], "data.row_length"),
        (["model.wdth=3"], "wdth"),
        (["+model.wdth=3"], "unknown key model.wdth"),
        (["+data.synthetic.agents=2"], "unknown key data.synthetic.agents"),
        (["+epochs=3"], "unknown key epochs"),
        (["trainer.max_epoch=3"], "max_epoch"),
        (["model.width=10"], "width 10"),
        (["model.windows=[64]"], "the longest of windows is 64"),
        (["data.cutoff=noon"], "data.cutoff"),
        (["data=lobster"], "data.path"),
        (["optim.learning_rate=0"], "learning_rate"),
        (["schedule.warmup_steps=9999"], "warmup_steps"),
        (["execution.sharded_dtype=float16"], "sharded_dtype is 'float16'"),
        (["+execution.fuse=true"], "unknown key execution.fuse"),
        (["data=unknown"], "unknown"),
        (["model.embedding=mars"], "imported MarS models"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_key(overrides, message):
    with pytest.raises(Exception, match=message) as raised:
        train_config(*overrides)
    assert not isinstance(raised.value, AttributeError)


@pytest.mark.parametrize(
    ("name", "schema", "message"),
    [("simulate", SimulateConfig, "run=..."), ("evaluate", EvaluateConfig, "run=...")],
)
def test_a_missing_run_is_asked_for(name, schema, message):
    with pytest.raises(ConfigCompositionException, match=message):
        typed(composed(name), schema)


@pytest.mark.parametrize("trainer", sorted(path.stem for path in Path(CONF, "trainer").glob("*.yaml")))
def test_trainer_options_build(trainer, tmp_path):
    config = train_config(f"trainer={trainer}").trainer
    config["default_root_dir"] = str(tmp_path)
    config["accelerator"] = "cpu"
    assert isinstance(build(config), L.Trainer)


def test_a_wrong_trainer_argument_is_an_error_before_any_work():
    with pytest.raises(ConfigCompositionException, match="max_epoch"):
        build(train_config("+trainer.max_epoch=3").trainer)


def test_only_known_packages_can_be_named():
    with pytest.raises(ConfigCompositionException, match=r"os\.system is not allowed"):
        build({"_target_": "lightning.Trainer", "callbacks": [{"_target_": "os.system", "command": "true"}]})
