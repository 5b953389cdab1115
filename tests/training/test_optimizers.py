import pytest
import torch
from torch import nn

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training.optimizers import OptimConfig, build_adamw, decay_groups


def test_only_matrices_decay():
    model = OrderModel(OrderModelConfig(width=16, layers=1, heads=2))
    decayed, spared = (group["params"] for group in decay_groups(model, 0.1))
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    assert {id(p) for p in decayed} == linear
    assert len(decayed) + len(spared) == len(list(model.parameters()))


def test_decay_is_decoupled():
    """Without a gradient to speak of, a step multiplies a matrix by 1 - learning_rate * weight_decay."""
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone(), model.bias.detach().clone()
    optimizer = build_adamw(model, OptimConfig(learning_rate=0.1, weight_decay=0.5), fused=False)
    model(torch.zeros(1, 3)).mul(0).sum().backward()
    optimizer.step()
    assert torch.allclose(model.weight, before[0] * 0.95)
    assert torch.equal(model.bias, before[1])


@pytest.mark.parametrize("wrong", [{"learning_rate": 0}, {"weight_decay": -1}, {"beta1": 1}, {"beta2": -0.1}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimConfig(**wrong)
