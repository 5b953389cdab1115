"""Precision, recomputation and compilation: the same model, faster or smaller."""

import dataclasses

import lightning as L
import pytest
import torch
from tiny import MODEL
from torch import nn

from mars_lmm.models.checkpoint import load_order_model
from mars_lmm.training.parallelize import ExecutionConfig

DEEP = dataclasses.replace(MODEL, layers=2, dropout=0.3)


class Losses(L.Callback):
    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.losses.append(outputs["loss"].item())


@pytest.fixture
def trained(make_module, make_data, make_trainer, tmp_path):
    """Losses of a short run, its module and its checkpoint."""

    def run(execution=None, model=MODEL, **options):
        record = Losses()
        module = make_module(max_steps=6, model=model, execution=execution)
        trainer = make_trainer(max_steps=6, callbacks=[record], gradient_clip_val=0.05, **options)
        trainer.fit(module, datamodule=make_data())
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        return record.losses, module, tmp_path / "end.ckpt"

    return run


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-mixed"])
@pytest.mark.filterwarnings("ignore:You passed")  # on a CPU, Lightning turns 16-mixed into bf16-mixed and says so
def test_precisions_learn_the_same(precision, trained):
    exact, *_ = trained()
    losses, module, path = trained(precision=precision)
    assert losses == pytest.approx(exact, rel=0.005)
    assert losses != exact
    held = torch.bfloat16 if precision == "bf16-true" else torch.float32
    assert {weight.dtype for weight in module.model.parameters()} == {held}
    model, _ = load_order_model(path)
    for name, weight in model.named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, module.model.get_parameter(name).float())


def test_validation_adds_up_in_float64_whatever_the_precision(make_module, make_data, make_trainer):
    module = make_module()
    trainer = make_trainer(precision="bf16-true")
    (result,) = trainer.validate(module, datamodule=make_data(batch_size=7), verbose=False)
    (batch,) = make_data(batch_size=7).val_dataloader()
    hidden = module.model.eval()(batch["token"][:, :-1], batch["market"][:, :-1])
    assert hidden.dtype == torch.bfloat16
    nats = module.model.nll(hidden, batch["token"][:, 1:]).double()
    assert result["validation/nats"] == pytest.approx(nats[batch["scored"]].mean().item(), rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_recomputation_changes_nothing(precision, trained):
    """Not even dropout's masks."""
    kept, first, _ = trained(model=DEEP, precision=precision)
    recomputed, second, path = trained(ExecutionConfig(activation_checkpointing=True), DEEP, precision=precision)
    assert recomputed == kept
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name
    load_order_model(path)


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_blocks_learn_the_same(checkpointing, monkeypatch, trained):
    """Traced as for any backend, and run without waiting for a code generator."""
    compile_module = nn.Module.compile
    compiled = []

    def traced(self):
        compiled.append(type(self).__name__)
        compile_module(self, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", traced)
    model = dataclasses.replace(DEEP, dropout=0.0)
    losses, *_ = trained(model=model)
    execution = ExecutionConfig(compile=True, activation_checkpointing=checkpointing)
    ours, module, path = trained(execution, model)
    assert compiled == ["Block", "Block"]
    assert ours == pytest.approx(losses, rel=1e-6)
    assert not any("_orig_mod" in name for name in module.state_dict())
    load_order_model(path)


@pytest.mark.slow
def test_generated_code_learns_the_same(trained):
    losses, *_ = trained(model=dataclasses.replace(DEEP, dropout=0.0))
    ours, *_ = trained(ExecutionConfig(compile=True), dataclasses.replace(DEEP, dropout=0.0))
    assert ours == pytest.approx(losses, rel=1e-5)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="sharded_dtype is 'float16'; choose one of float32, bfloat16"):
        ExecutionConfig(sharded_dtype="float16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "16-mixed"])
def test_compiled_on_a_gpu(precision, trained):
    losses, *_ = trained(accelerator="gpu", devices=1)
    ours, *_ = trained(ExecutionConfig(compile=True), accelerator="gpu", devices=1, precision=precision)
    assert ours == pytest.approx(losses, rel=0.01)
