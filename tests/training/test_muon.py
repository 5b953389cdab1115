import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from tiny import MODEL
from torch import nn
from torch.optim import AdamW, Muon

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training.muon import MuonAdamW, orthogonalize
from mars_lmm.training.optimizers import OptimConfig, build_optimizer, hidden_matrices

NONE = [{"params": []}]
MUON = OptimConfig(name="muon", learning_rate=3e-3)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 40), (2, 40, 8)])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_singular_values_come_near_one_and_vectors_stay(shape, scale):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    update = orthogonalize(matrices).float()
    singular = torch.linalg.svdvals(update)
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ update @ vt.mT
    assert (turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))).abs().max() < 0.1


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
    hidden = [(parameter, (len(parameter),)) for parameter in ours[:4]]
    both = MuonAdamW(hidden, [{"params": ours[4:]}], 0.01, 0.3, 0.9, (0.8, 0.99))
    muon = Muon(theirs[:4], lr=0.01, weight_decay=0.3, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW(theirs[4:], lr=0.01, betas=(0.8, 0.99))
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        both.step()
        muon.step()
        adamw.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=2e-3)  # bfloat16 products in another order
    assert torch.equal(ours[4], theirs[4])


def test_matrices_in_one_weight_are_orthogonalised_apart():
    generator = torch.Generator().manual_seed(0)
    whole = nn.Parameter(torch.randn(20, 8, generator=generator))
    parts = [nn.Parameter(part.clone()) for part in whole.detach().split((8, 8, 4))]
    apart = MuonAdamW([(part, (len(part),)) for part in parts], NONE, 0.1, 0.1, 0.9, (0.9, 0.9))
    joint = MuonAdamW([(whole, (8, 8, 4))], NONE, 0.1, 0.1, 0.9, (0.9, 0.9))
    for step in range(3):
        gradients([whole], step)
        for part, gradient in zip(parts, whole.grad.split((8, 8, 4)), strict=True):
            part.grad = gradient.clone()
        apart.step()
        joint.step()
    assert torch.equal(whole, torch.cat(parts))


def test_hidden_matrices_are_those_of_the_blocks():
    model = OrderModel(OrderModelConfig(width=32, layers=2, heads=4, kv_heads=2, mlp_width=24))
    hidden = {id(parameter): rows for parameter, rows in hidden_matrices(model)}
    blocks = {id(parameter) for parameter in model.transformer.blocks.parameters() if parameter.ndim == 2}
    assert hidden.keys() == blocks
    block = model.transformer.blocks[1]
    assert hidden[id(block.attention.qkv.weight)] == (32, 16, 16)
    assert hidden[id(block.mlp.gate_up.weight)] == (24, 24)
    assert hidden[id(block.mlp.down.weight)] == (32,)
    groups = build_optimizer(model, MUON, fused=False).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1, 0.0]


def test_overflow_skips_the_whole_step():
    """The scaler of 16-mixed sees one optimiser: neither half moves on a gradient that is not finite."""
    parameters = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))]
    optimizer = MuonAdamW([(parameters[0], (4,))], [{"params": parameters[1:]}], 0.1, 0.1, 0.9, (0.9, 0.9))
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
    rates = {group["lr"] for group in [*optimizer.param_groups, *optimizer._adamw.param_groups]}
    assert rates == {trainer.lr_scheduler_configs[0].scheduler.get_last_lr()[0]}


def test_shards_are_refused(make_module, make_trainer):
    module = make_module(optim=MUON)
    module.trainer = make_trainer(strategy=ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1))
    with pytest.raises(ValueError, match=r"ModelParallelStrategy .* use trainer\.strategy=ddp or optim=adamw"):
        module.configure_optimizers()


def test_a_step_has_the_size_of_adamw():
    """Root mean square 0.2 learning rates, in every part of every weight."""
    model = OrderModel(MODEL)
    before = [parameter.detach().clone() for parameter, _ in hidden_matrices(model)]
    optimizer = build_optimizer(model, OptimConfig(name="muon", learning_rate=1e-3, weight_decay=0.0), fused=False)
    gradients(model.parameters(), 0)
    optimizer.step()
    for (parameter, rows), old in zip(hidden_matrices(model), before, strict=True):
        for moved in (parameter.detach() - old).split(rows):
            assert moved.square().mean().sqrt() == pytest.approx(2e-4, rel=0.2)
