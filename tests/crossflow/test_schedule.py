import pytest
import torch
from torch import nn

from crossflow.errors import InputError
from crossflow.optimizer import Schedule, adamw


def test_parts_are_fractions_of_the_budget():
    schedule = Schedule(warmup=0.1, cooldown=0.2)
    at = {0.0: 0.0, 0.05: 0.5, 0.1: 1.0, 0.5: 1.0, 0.8: 1.0, 0.9: 0.5, 1.0: 0.0}
    for fraction, factor in at.items():
        assert schedule.factor(fraction) == pytest.approx(factor)


def test_without_cooldown_it_stays_constant_as_published():
    schedule = Schedule(warmup=0.0, cooldown=0.0)
    assert schedule.factor(0.0) == schedule.factor(1.0) == 1.0


@pytest.mark.parametrize(("warmup", "cooldown"), [(-0.1, 0.2), (0.6, 0.5), (0.1, -1.0)])
def test_fractions_must_fit_into_the_budget(warmup, cooldown):
    with pytest.raises(InputError, match="must be fractions of the budget"):
        Schedule(warmup, cooldown)


def test_only_matrices_that_multiply_activations_decay():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(5, 4)
            self.norm = nn.LayerNorm(4)
            self.linear = nn.Linear(4, 4)
            self.conv = nn.Conv2d(4, 4, 3)
            self.queries = nn.Parameter(torch.zeros(2, 4))
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

    net = Net()
    groups = adamw(net, 1e-3, weight_decay=0.1).param_groups
    names = {id(p): name for name, p in net.named_parameters()}
    decayed = {names[id(p)] for g in groups if g["weight_decay"] == 0.1 for p in g["params"]}
    kept = {names[id(p)] for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    assert decayed == {"linear.weight", "conv.weight"}
    vectors = {"words.weight", "norm.weight", "norm.bias", "linear.bias", "conv.bias", "queries"}
    assert kept == vectors
