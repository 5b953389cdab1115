import pytest
import torch
from torch import nn

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.training import rules
from mars_lmm.training.optimizers import OptimConfig, build_optimizer, decay_groups


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
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1, weight_decay=0.5), fused=False)
    model(torch.zeros(1, 3)).mul(0).sum().backward()
    optimizer.step()
    assert torch.allclose(model.weight, before[0] * 0.95)
    assert torch.equal(model.bias, before[1])


@pytest.mark.parametrize(
    "wrong",
    [{"name": "sgd"}, {"learning_rate": 0}, {"weight_decay": -1}, {"beta1": 1}, {"beta2": -0.1}, {"momentum": 1}],
)
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimConfig(**wrong)


def test_a_rate_of_none_is_resolved_by_size(make_module):
    module = make_module(optim=OptimConfig(learning_rate=None))
    weights = sum(layer.weight.numel() for layer in module.model.modules() if isinstance(layer, nn.Linear))
    expected = rules.learning_rate(weights)
    assert module.optim.learning_rate == module.run["optim"]["learning_rate"] == expected
    assert make_module(optim=OptimConfig(learning_rate=0.1)).run["optim"]["learning_rate"] == 0.1


def test_rules_at_the_size_they_were_stated_for():
    """160 sequences of 2,048 at 108 million; an eighth of the size has a quarter of the batch and twice the rate."""
    assert rules.batch_orders(108_000_000) == 160 * 2048
    assert rules.batch_orders(13_500_000) == 40 * 2048
    assert rules.learning_rate(13_500_000) == pytest.approx(2 * rules.learning_rate(108_000_000))
    assert rules.beta2(524_288) == 0.95
    assert rules.beta2(524_287) == 0.99
