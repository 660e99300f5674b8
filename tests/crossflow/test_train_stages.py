"""Training in stages: what rests in each, what it costs, and that no checkpoint lies between."""

from itertools import pairwise

import pytest
import torch

from benchmarks.match.planning import steps_of_stages
from crossflow import world_checks
from crossflow.budget import Budget
from crossflow.errors import ArmError
from tests.crossflow.test_train import same, weights

SOURCE, NETWORK = ("method.encoder", "method.decoder"), ("net.",)


def named(module, parts):
    return {name: x for name, x in weights(module).items() if name.startswith(parts)}


@pytest.mark.parametrize(
    ("training", "budget"),
    [("separate", Budget(steps=5)), ("two_stage", Budget(device_seconds=5))],
)
def test_a_stage_moves_its_own_parts_alone(toy, tmp_path, monkeypatch, training, budget):
    """Neither decay nor moments nor the average move what has no gradient."""
    options = {"training": training, "first_stage": 0.4, "weight_decay": 0.5}
    trainer, hands = toy.make_trainer(tmp_path, "crossflow", budget, options, warmup=0.0), [0.0]

    def slow(*given, update=trainer._update):
        hands[0] += 1  # every step takes a second
        return update(*given)

    monkeypatch.setattr(trainer.clock, "_now", lambda: hands[0])
    monkeypatch.setattr(trainer, "_update", slow)
    arm, average, costs, terms = trainer.arm, trainer.ema.module, [0.0], []
    before = weights(arm)
    for _ in range(5):
        trainer.step()
        costs.append(trainer.spent.flops)
        terms.append(set(trainer.last["terms"]))
        if trainer.spent.steps == 2:
            for each in (arm, average):
                assert same(named(each, NETWORK), {k: before[k] for k in named(arm, NETWORK)})
            trained = named(arm, SOURCE)
            assert not any(torch.equal(x, before[name]) for name, x in trained.items())
            assert trainer.last["lr"] == pytest.approx(1e-3)  # each stage has a schedule of its own
    assert same(named(arm, SOURCE), trained) == (training == "separate")
    assert not same(named(arm, NETWORK), {k: before[k] for k in named(arm, NETWORK)})
    charges = {"kl", "reconstruction"}
    later = {"flow"} if training == "separate" else {"flow", *charges}
    assert terms == [charges] * 2 + [later] * 3
    first, last = trainer.arm.flops_stages
    assert [b - a for a, b in pairwise(costs)] == [8 * first] * 2 + [8 * last] * 3
    joint = toy.build("crossflow", 8).cost.flops_train
    assert last == joint if training == "two_stage" else last < joint < last + first


@pytest.mark.parametrize("kind", ["flops", "samples"])
def test_a_plan_counts_the_steps_of_both_stages(toy, tmp_path, kind):
    options = {"training": "separate", "first_stage": 0.3}
    arm = toy.build("crossflow", 8, **options)
    price = {"flops": 8 * arm.cost.flops_train, "samples": 8}[kind]
    trainer = toy.make_trainer(tmp_path, budget=Budget(**{kind: 20 * price}), options=options)
    trainer.run()
    counts = steps_of_stages(arm, trainer.budget, price)
    assert sum(counts) == pytest.approx(trainer.spent.steps, abs=1)
    assert counts[0] > 6 if kind == "flops" else counts == [6, 14]
    flops = sum(8 * n * cost for n, cost in zip(counts, arm.flops_stages, strict=True))
    assert flops == pytest.approx(trainer.spent.flops, rel=0.02 if kind == "samples" else 0.05)


def test_every_stage_is_warmed_up_and_every_parameter_is_in_one(toy, tmp_path, monkeypatch):
    """Compiled on the clock, the network's first step would cost the budget."""
    trainer = toy.make_trainer(tmp_path, options={"training": "separate"})
    check, ran = world_checks.require_gradients, []

    def as_of_two(*given):
        with monkeypatch.context() as patch:
            patch.setattr("crossflow.world.size", lambda: 2)
            check(*given)
            with pytest.raises(ArmError, match=r"no gradient reaches method\.encoder"):
                check(*given[:2])

    monkeypatch.setattr(world_checks, "require_gradients", as_of_two)
    trainer.arm.net.blocks[0].register_forward_hook(lambda *_: ran.append(1))
    trainer.warm_up()
    assert ran == [1]
