"""Rates follow the budget, matrices decay, the average follows the share of training."""

import math

import pytest
import torch
from torch import nn

from crossflow.optimizer import Finite, PowerEMA, adamw, gamma_from_width, rate_factor


def test_parts_are_fractions_of_the_budget():
    at = {0.0: 0.0, 0.05: 0.5, 0.1: 1.0, 0.5: 1.0, 0.8: 1.0, 0.9: 0.5, 1.0: 0.0}
    for fraction, factor in at.items():
        assert rate_factor(fraction, warmup=0.1, cooldown=0.2) == pytest.approx(factor)
    assert rate_factor(0.0, 0.0, 0.0) == rate_factor(1.0, 0.0, 0.0) == 1.0  # as published


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


def test_gamma_has_the_published_values():
    # Karras et al. 2024: relative widths 0.05 and 0.10 are gamma 16.97 and 6.94.
    assert gamma_from_width(0.05) == pytest.approx(16.97, abs=0.005)
    assert gamma_from_width(0.10) == pytest.approx(6.94, abs=0.005)


def track(progress, width=0.1):
    """The average of a weight that equals the progress, followed over the given steps."""
    module = nn.Linear(1, 1, bias=False)
    ema = PowerEMA(module, width)
    before = 0.0
    for after in progress:
        module.weight.data.fill_(after)
        ema.update(before, after)
        before = after
    return float(ema.module.weight)


def test_equal_steps_are_the_power_function():
    ema = PowerEMA(nn.Linear(1, 1), 0.1)
    for t in (1, 2, 10, 1000):
        expected = (1 - 1 / t) ** (ema.gamma + 1)
        assert ema.beta((t - 1) / 5000, t / 5000) == pytest.approx(expected, rel=1e-9)


def test_the_average_follows_the_share_of_training_not_the_steps():
    coarse = track([k / 500 for k in range(1, 501)])
    fine = track([k / 2000 for k in range(1, 2001)])
    gamma = gamma_from_width(0.1)
    # The mean time of the profile, (gamma + 1) / (gamma + 2), whatever the number of steps.
    assert coarse == pytest.approx((gamma + 1) / (gamma + 2), abs=3e-3)
    assert fine == pytest.approx(coarse, abs=3e-3)
    unequal = [k / 4000 for k in range(1, 2001)] + [0.5 + k / 1000 for k in range(1, 501)]
    assert track(unequal) == pytest.approx(coarse, abs=3e-3)


def test_the_first_step_copies_buffers_too_and_gradients_are_off():
    module = nn.BatchNorm1d(2)
    ema = PowerEMA(module)
    module.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    module(torch.randn(8, 2))
    ema.update(0.0, 0.1)
    assert torch.equal(ema.module.weight, module.weight)
    assert torch.equal(ema.module.running_mean, module.running_mean)
    assert not any(p.requires_grad for p in ema.module.parameters())


def test_the_first_step_that_is_not_finite_is_kept_until_it_is_asked_for():
    finite, one, bad = Finite(torch.device("cpu")), torch.tensor(1.0), torch.tensor(math.nan)
    finite.note(0, one, {"flow": one, "gradient norm": one})
    assert finite.broken() == ""
    finite.note(1, one, {"flow": one, "gradient norm": bad})
    finite.note(2, bad, {"flow": bad, "gradient norm": one})
    assert finite.broken() == "1 ({'flow': nan, 'gradient norm': 1.0})"
