import math

import pytest

from crossflow.budget import Budget, Spent, Training
from crossflow.errors import InputError

KINDS = ("device_seconds", "flops", "samples", "steps")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_limited_quantity_counts(kind):
    budget = Budget(**{kind: 8})
    assert (budget.kind, budget.limit) == (kind, 8.0)
    others = {name: 1000 for name in KINDS if name != kind}
    assert budget.progress(Spent(**others)) == 0
    assert budget.progress(Spent(**{kind: 10})) == 1.25  # the last step may overshoot


def test_no_limit_and_two_limits_are_refused_by_name():
    with pytest.raises(InputError, match=r"exactly one limit .* given: none"):
        _ = Budget().kind
    with pytest.raises(InputError, match=r"given: flops, steps"):
        _ = Budget(flops=1e9, steps=5).limit


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True])
def test_a_limit_must_be_a_positive_finite_number(value):
    with pytest.raises(InputError, match=r"budget\.samples=.* not a positive finite number"):
        Budget(samples=value).progress(Spent())


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"precision": "fp8"},
            {"batch": 0},
            {"accumulate": 0},
            {"lr": 0},
            {"lr": -1.0},
            {"lr": math.nan},
        ),
        *({"clip": -1}, {"clip": 0}, {"checkpoint_seconds": 0}, {"weight_decay": -1}),
        *({"ema_width": 0}, {"ema_width": 0.3}, {"beta1": 1}, {"beta2": -0.1}),
        *({"warmup": -0.1}, {"cooldown": 1.1}),
    ],
)
def test_settings_that_would_fail_later_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=rf"training\.{name}={value}: must be "):
        Training(**wrong)


def test_chunks_of_a_batch_are_of_one_size():
    assert Training(batch=6, accumulate=3).accumulate == 3
    with pytest.raises(InputError, match=r"training\.batch=6: not a multiple of .*accumulate=4"):
        Training(batch=6, accumulate=4)


def test_rates_rise_and_fall_within_the_budget():
    assert Training(warmup=0.5, cooldown=0.5, clip=None).clip is None
    with pytest.raises(InputError, match="exceed the whole budget"):
        Training(warmup=0.9, cooldown=0.9)
