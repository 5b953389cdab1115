import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import ROW_LENGTH

from mars_lmm.training import throughput
from mars_lmm.training.peaks import PEAKS, matmul_dtype, peak_flops
from mars_lmm.training.throughput import Throughput


class SlowWorld(L.Callback):
    """Time passes where this callback says so: loading, a step, a validation and a checkpoint."""

    LOADING, STEP, VALIDATION, CHECKPOINT = 0.25, 0.5, 100.0, 1000.0

    def __init__(self):
        self.now = 0.0

    def on_train_batch_end(self, *_):
        self.now += self.LOADING + self.STEP  # the next batch's loading, but who would tell

    def on_validation_end(self, *_):
        self.now += self.VALIDATION

    def on_save_checkpoint(self, *_):
        self.now += self.CHECKPOINT


class Logged(L.Callback):
    def __init__(self):
        self.metrics = []

    def on_train_batch_end(self, trainer, *_):
        found = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("throughput/")}
        self.metrics.append(found)


@pytest.fixture
def measured(monkeypatch, tmp_path, make_module, make_data, make_trainer):
    """What is logged of 12 steps, each three quarters of a second, with validations and checkpoints between them."""

    def run(accumulate=1, flops=None):
        world, logged = SlowWorld(), Logged()
        monkeypatch.setattr(throughput.WallClock, "now", lambda self: world.now)
        speed = Throughput()
        speed._peak_flops = flops
        saved = [
            ModelCheckpoint(tmp_path, "step-{step}", save_top_k=-1, every_n_train_steps=3),
            ModelCheckpoint(tmp_path, "validation-{step}", save_top_k=-1, monitor="validation/nats"),
        ]
        trainer = make_trainer(
            callbacks=[world, speed, logged, *saved],
            log_every_n_steps=4,
            val_check_interval=5,
            accumulate_grad_batches=accumulate,
        )
        module = make_module()
        trainer.fit(module, datamodule=make_data(batch_size=5))  # four batches an epoch
        return module, logged.metrics, trainer.callback_metrics

    return run


@pytest.mark.parametrize("accumulate", [1, 2])
def test_counts_training_alone(accumulate, measured):
    _, logged, last = measured(accumulate)
    assert not any(logged[: 4 * accumulate])  # the first steps warm up
    assert last["throughput/step_milliseconds"].item() == pytest.approx(750 * accumulate)
    assert last["throughput/orders_per_second"].item() == pytest.approx(5 * ROW_LENGTH / 0.75)
    assert "throughput/mfu" not in last
    assert "throughput/peak_memory_bytes" not in last


def test_mfu_is_the_share_of_the_peak(measured):
    module, _, last = measured(flops=1e9)
    achieved = module.model.flops_per_token(ROW_LENGTH) * 5 * ROW_LENGTH / 0.75
    assert last["throughput/mfu"].item() == pytest.approx(achieved / 1e9)


@pytest.mark.parametrize(
    ("name", "dtype", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA H100 NVL", "bf16", 835.5),
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H200", "tf32", 494.7),
        ("NVIDIA H200 NVL", "bf16", 835.5),
        ("NVIDIA B200", "bf16", 2250),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "fp32", 19.5),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA L40S", "bf16", 362),
        ("NVIDIA GeForce RTX 4090", "fp16", 165.2),
        ("Tesla V100-SXM2-16GB", "fp16", 125),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("Tesla T4", "fp16", 65),
        ("NVIDIA A10G", "bf16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16", None),
        ("AMD Instinct MI300X", "bf16", None),
    ],
)
def test_peaks_of_cards(name, dtype, teraflops):
    assert peak_flops(name, dtype) == (None if teraflops is None else pytest.approx(teraflops * 1e12))


def test_peaks_are_dense():
    """With sparsity, 16 bits would be four times tf32 on the cards that have both."""
    for name, peaks in PEAKS.items():
        assert peaks.bf16 in (None, peaks.fp16), name
        if peaks.tf32 is not None:
            assert peaks.fp16 == pytest.approx(2 * peaks.tf32, rel=0.02), name
            assert peaks.fp32 <= peaks.tf32, name


@pytest.mark.parametrize(
    ("precision", "matmul", "dtype"),
    [
        ("bf16-mixed", "highest", "bf16"),
        ("bf16-true", "highest", "bf16"),
        ("16-mixed", "highest", "fp16"),
        ("32-true", "highest", "fp32"),
        ("32-true", "high", "tf32"),
    ],
)
def test_the_precision_chooses_the_peak(precision, matmul, dtype):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    try:
        assert matmul_dtype(precision) == dtype
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_times_a_gpu(make_module, make_data, make_trainer):
    trainer = make_trainer(accelerator="gpu", devices=1, callbacks=[Throughput()], log_every_n_steps=4)
    trainer.fit(make_module(), datamodule=make_data())
    assert trainer.callback_metrics["throughput/orders_per_second"] > 0
    assert trainer.callback_metrics["throughput/peak_memory_bytes"] > 0
