import lightning as L
import pytest
import torch
from prepared_sets import numbered_rows, write_prepared
from tiny import MODEL, OPTIM, ROW_LENGTH

from mars_lmm.data.datamodule import OrderDataModule
from mars_lmm.training.order_module import OrderModule
from mars_lmm.training.schedules import ScheduleConfig


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """On tensors this small, handing work to a second thread takes longer than doing it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """23 training rows: five batches of 4; 7 validation rows with 0 to 6 targets that are context only."""
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared(folder, numbered_rows(23, ROW_LENGTH), numbered_rows(7, ROW_LENGTH), range(7))


@pytest.fixture
def make_module(prepared):
    def make(max_steps=12, model=MODEL, optim=OPTIM, prepared=prepared, config=None, execution=None, **schedule):
        L.seed_everything(0, verbose=False)
        return OrderModule(
            model,
            optim,
            ScheduleConfig(max_steps, **({"warmup_steps": 2} | schedule)),
            prepared,
            {"seed": 0} if config is None else config,
            execution,
        )

    return make


@pytest.fixture
def make_data(prepared):
    def make(batch_size=4, num_workers=0, seed=1, prepared=prepared):
        return OrderDataModule(prepared, batch_size, num_workers, seed)

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(max_steps=12, **options):
        quiet = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(
                isinstance(callback, L.pytorch.callbacks.Checkpoint) for callback in options.get("callbacks", [])
            ),
            "check_val_every_n_epoch": None,
            "val_check_interval": 4,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "default_root_dir": tmp_path,
        }
        return L.Trainer(max_steps=max_steps, **quiet | options)

    return make
