import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from tiny import MODEL
from torch import nn
from torch.optim import AdamW, Muon

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training.agreement import check_agreement
from mars_lmm.training.muon import MuonAdamW
from mars_lmm.training.optimizers import OptimConfig, build_optimizer, hidden_matrices
from mars_lmm.training.parallelize import ExecutionConfig

MUON = OptimConfig(name="muon", learning_rate=3e-3)


def gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_agrees_with_torch():
    """torch's Muon and AdamW, each on its own parameters, do the same."""
    shapes = [(12, 12), (12, 12), (6, 20), (20, 6), (5,)]
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    both = MuonAdamW(ours[:4], [{"params": ours[4:]}], 0.01, 0.3, 0.9, (0.8, 0.99))
    muon = Muon(theirs[:4], lr=0.01, weight_decay=0.3, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW(theirs[4:], lr=0.01, betas=(0.8, 0.99))
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        both.step()
        muon.step()
        adamw.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("head", ["joint", "tied"])
def test_each_parameter_is_in_one_group(head):
    """Muon has the four weights of each block; of the rest, tables and norms do not decay."""
    model = OrderModel(OrderModelConfig(width=32, layers=2, heads=4, kv_heads=2, mlp_width=24, head=head))
    hidden, matrices, others = build_optimizer(model, MUON, fused=False).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    blocks = {names[id(parameter)].removeprefix("transformer.blocks.") for parameter in hidden["params"]}
    parts = ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    assert blocks == {f"{layer}.{part}.weight" for layer in range(2) for part in parts}
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    assert tables <= {id(parameter) for parameter in others["params"]}
    assert sum(len(group["params"]) for group in (hidden, matrices, others)) == len(names)
    assert [group["weight_decay"] for group in (hidden, matrices, others)] == [0.1, 0.1, 0.0]


def test_overflow_skips_the_whole_step():
    """The scaler of 16-mixed sees one optimiser: neither half moves on a gradient that is not finite."""
    parameters = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))]
    optimizer = MuonAdamW(parameters[:1], [{"params": parameters[1:]}], 0.1, 0.1, 0.9, (0.9, 0.9))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for poison in (0.0, float("inf")):
        before = [parameter.detach().clone() for parameter in parameters]
        scaler.scale(sum(parameter.sum() for parameter in parameters)).backward()
        parameters[0].grad[0, 0] += poison
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        moved = [not torch.equal(old, new) for old, new in zip(before, parameters, strict=True)]
        assert moved == [poison == 0.0] * 2


def test_resumes_to_the_bit(tmp_path, make_module, make_data, make_trainer):
    options = {"gradient_clip_val": 1.0, "accumulate_grad_batches": 2}
    whole = make_module(6, optim=MUON)
    save = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    make_trainer(6, callbacks=[save], **options).fit(whole, datamodule=make_data())
    for step in (1, 4):
        module = make_module(6, optim=MUON)
        path = tmp_path / f"step={step}.ckpt"
        trainer = make_trainer(6, **options)
        trainer.fit(module, datamodule=make_data(), ckpt_path=path, weights_only=True)
        for name, weight in module.state_dict().items():
            assert torch.equal(weight, whole.state_dict()[name]), (step, name)


def test_the_schedule_moves_both(make_module, make_data, make_trainer):
    trainer = make_trainer(4)
    trainer.fit(make_module(12, optim=MUON), datamodule=make_data())
    optimizer = trainer.optimizers[0]
    rates = {group["lr"] for group in [*optimizer._muon.param_groups, *optimizer._adamw.param_groups]}
    assert rates == {trainer.lr_scheduler_configs[0].scheduler.get_last_lr()[0]}


def test_shards_are_refused(make_module, make_trainer):
    trainer = make_trainer(strategy=ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1))
    with pytest.raises(ValueError, match=r"ModelParallelStrategy .* use DDP or optim=adamw"):
        check_agreement(trainer, MUON, make_module().schedule, ExecutionConfig())


def test_a_step_has_the_size_of_adamw():
    """Root mean square 0.2 learning rates."""
    model = OrderModel(MODEL)
    before = [parameter.detach().clone() for parameter in hidden_matrices(model)]
    optimizer = build_optimizer(model, OptimConfig(name="muon", learning_rate=1e-3, weight_decay=0.0), fused=False)
    gradients(model.parameters(), 0)
    optimizer.step()
    for parameter, old in zip(hidden_matrices(model), before, strict=True):
        assert (parameter - old).square().mean().sqrt().item() == pytest.approx(2e-4, rel=0.2)
