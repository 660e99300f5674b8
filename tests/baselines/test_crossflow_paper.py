"""The printed recipe: crossflow but for the KL and its weight."""

import pytest
import torch

from baselines import crossflow_paper
from crossflow import crossflow
from crossflow.arm import build_arm, example_pair
from crossflow.crossflow import kl_per_dimension
from crossflow.draws import StepDraws
from crossflow.method import training_loss
from crossflow.network import SIZES, Size
from crossflow.problem import MapShape, Problem, TokenShape

MAP = MapShape(2, 8, 8)
TEXT = Problem(TokenShape(6, vocabulary=9), MAP, 2, "variational", "contrastive", 0.25)


def test_the_kl_alone_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "toy", Size(depth=4, width=64, heads=2, hidden=256))
    released, printed = (build_arm(m, TEXT, "toy", batch=8) for m in (crossflow, crossflow_paper))
    assert (printed.size, printed.cost) == (released.size, released.cost)
    given = released.options | {"kl_form": "standard", "kl_weight": pytest.approx(1e-4 * 128)}
    assert printed.options == given
    torch.manual_seed(0)
    pair, draws = example_pair(TEXT, 8, "cpu"), StepDraws(0, 0, range(8), 8)
    losses = [training_loss(arm.net, arm.method, pair, draws) for arm in (released, printed)]
    terms = [loss.terms for loss in losses]
    assert all(terms[0][name] == terms[1][name] for name in ("flow", "contrastive"))
    for arm, form, loss in zip((released, printed), ("official", "standard"), losses, strict=True):
        mean, logvar = arm.method.source_moments(pair.source)
        assert logvar is not None
        kl = kl_per_dimension(mean, logvar, form)
        torch.testing.assert_close(loss.terms["kl"], kl.detach())
        sums = loss.terms["flow"] + loss.terms["contrastive"] + arm.options["kl_weight"] * kl
        torch.testing.assert_close(loss.total, sums)
    same = {"kl_form": "standard", "kl_weight": printed.options["kl_weight"]}
    arm = build_arm(crossflow, TEXT, "toy", batch=8, options=same)
    assert training_loss(arm.net, arm.method, pair, draws).total == losses[1].total
