import copy
import json
import math

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.match.order_proof import is_prefix, proof_of_order
from crossflow.budget import Budget
from crossflow.draws import ItemDraws
from crossflow.errors import InputError
from crossflow.race import train_match
from crossflow.solver import Grid
from crossflow.train import TrainingError

METHODS = ("crossflow", "flow_matching", "regression")


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_step_moves_weights_average_and_counters(toy, tmp_path, method):
    trainer = toy.make_trainer(tmp_path, method, warmup=0.0)
    before = weights(trainer.arm)
    trainer.step()
    assert not same(before, weights(trainer.arm))
    assert same(weights(trainer.ema.module), weights(trainer.arm))  # the first step copies
    trainer.step()
    assert not same(weights(trainer.ema.module), weights(trainer.arm))
    assert (trainer.spent.steps, trainer.spent.samples) == (2, 16)
    assert trainer.spent.flops == 16 * trainer.arm.cost.flops_train
    assert trainer.spent.device_seconds == trainer.clock.seconds("train") > 0
    assert trainer.chain.steps == 2


def test_lr_and_decay_of_an_arm_win_over_those_of_the_match(toy, tmp_path):
    own, settings = {"lr": 0.01, "weight_decay": 0.5}, {"lr": 0.02, "weight_decay": 0.1}
    match = toy.make_trainer(tmp_path / "match", **settings, warmup=0.0)
    arm = toy.make_trainer(tmp_path / "arm", options=own, **settings, warmup=0.0)
    alike = toy.make_trainer(tmp_path / "alike", **own, warmup=0.0)
    for trainer, lr, decay in ((match, 0.02, 0.1), (arm, 0.01, 0.5), (alike, 0.01, 0.5)):
        trainer.step()
        groups = trainer.optimizer.param_groups
        assert [(g["lr"], g["weight_decay"]) for g in groups] == [(lr, decay), (lr, 0)]
    assert same(weights(arm.arm), weights(alike.arm))
    assert not same(weights(arm.arm), weights(match.arm))
    assert arm.last["lr"] == 0.01


def test_stats_have_every_charge_and_the_budget(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path, warmup=0.2, cooldown=0.2)
    trainer.run()
    lines = list(map(json.loads, (tmp_path / "crossflow/stats.jsonl").read_text().splitlines()))
    assert [line["steps"] for line in lines] == list(range(1, 11))
    assert [line["fraction"] for line in lines] == pytest.approx([k / 10 for k in range(1, 11)])
    # Warm-up over 20 % of the budget, cool-down over the last 20 %; rates are set before a step.
    expected = [0, 0.5e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 0.5e-3]
    assert [line["lr"] for line in lines] == pytest.approx(expected, abs=1e-12)
    last = lines[-1]
    spent = {"steps", "samples", "flops", "device_seconds"}
    numbers = {"fraction", "loss", "terms", "lr", "grad_norm", "samples_per_second"}
    assert set(last) == spent | numbers
    assert set(last["terms"]) == {"flow", "kl", "reconstruction"}
    weighted = sum(
        trainer.arm.method.weights[k] * v for k, v in last["terms"].items() if k != "flow"
    )
    assert last["loss"] == pytest.approx(last["terms"]["flow"] + weighted, rel=1e-5)
    assert last["grad_norm"] > 0
    assert last["samples_per_second"] > 0
    assert last["flops"] == trainer.spent.flops


def test_the_shorter_arm_is_a_prefix_of_the_longer(toy, tmp_path):
    short = toy.make_trainer(tmp_path, "crossflow", Budget(steps=7))
    long = toy.make_trainer(tmp_path, "flow_matching", Budget(steps=12))
    short.run()
    long.run()
    proofs = proof_of_order([short, long])
    assert is_prefix(proofs["crossflow"], proofs["flow_matching"])
    assert not is_prefix(proofs["flow_matching"], proofs["crossflow"])
    other = toy.make_trainer(tmp_path / "other", "crossflow", Budget(steps=7), batch=4)
    other.run()
    assert not is_prefix(proof_of_order([other])["crossflow"], proofs["flow_matching"])


def test_a_chain_that_the_order_does_not_give_is_found(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path, budget=Budget(steps=2))
    trainer.step()
    trainer.chain.update(["item1"], [0])
    with pytest.raises(ValueError, match="did not read what its order says"):
        proof_of_order([trainer])


def test_warm_up_leaves_no_trace(toy, tmp_path):
    warm, cold = (toy.make_trainer(tmp_path / name) for name in ("warm", "cold"))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    warm.warm_up()
    assert torch.equal(torch.get_rng_state(), state)
    assert warm.clock.wall == warm.clock.seconds("warmup") > 0
    assert same(weights(warm.arm), weights(cold.arm))
    for trainer in (warm, cold):
        trainer.run()
    assert same(weights(warm.arm), weights(cold.arm))
    assert (warm.spent.samples, warm.spent.flops) == (cold.spent.samples, cold.spent.flops)
    assert warm.chain == cold.chain


def test_an_arm_in_shards_warms_up_in_the_precision_of_training(toy, tmp_path):
    """Compiled for another, the first step would compile again, on the clock."""
    trainer, half = toy.make_trainer(tmp_path, precision="bf16"), []
    trainer.sharded = True
    trainer.arm.register_forward_pre_hook(lambda *_: half.append(torch.is_autocast_enabled("cpu")))
    trainer.warm_up()
    assert half == [True]
    assert all(parameter.grad is None for parameter in trainer.arm.parameters())


@pytest.mark.parametrize("then", ["step", "save", "finish"])
def test_what_a_gpu_noted_stops_the_next_log_and_every_file(toy, tmp_path, then):
    """On a CPU each step is checked at once; here step 3 was noted only, as on a GPU."""
    trainer, bad = toy.make_trainer(tmp_path), torch.tensor(math.nan)
    trainer._finite.note(3, bad, {"gradient norm": bad})
    with pytest.raises(TrainingError, match=r"crossflow: .* not finite at step 3 \("):
        getattr(trainer, then)()
    assert list((tmp_path / "crossflow").rglob("*.safetensors")) == []
    assert trainer.journal.read_bytes() == b""


@pytest.fixture
def on_a_gpu(toy, tmp_path, monkeypatch):
    """A trainer whose every step takes a second on a device that its host does not wait for."""

    def make(budget):
        trainer, now, ahead = toy.make_trainer(tmp_path, budget=budget, log_every=100), [0.0], [0.0]

        def wait():
            now[0], ahead[0] = now[0] + ahead[0], 0.0

        def update(*given, update=trainer._update):
            done = update(*given)
            ahead[0] += 1
            return done

        broken = trainer._finite.broken
        monkeypatch.setattr(trainer._finite, "broken", lambda: wait() or broken())
        monkeypatch.setattr(trainer.clock, "_synchronize", wait)
        monkeypatch.setattr(trainer.clock, "_now", lambda: now[0])
        monkeypatch.setattr(trainer, "_update", update)
        return trainer

    return make


def test_under_seconds_average_and_last_line_go_by_the_time_of_whole_steps(on_a_gpu, monkeypatch):
    trainer, progress = on_a_gpu(Budget(device_seconds=4)), []
    monkeypatch.setattr(trainer.ema, "update", lambda *both: progress.append(both))
    trainer.run()
    assert progress == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert trainer.last["steps"] == trainer.spent.steps == 4


def test_a_checkpoint_waits_for_steps_in_flight_on_their_ledger(on_a_gpu):
    trainer = on_a_gpu(Budget(steps=100))
    with trainer.clock("other"):
        for _ in range(3):
            trainer.step()
        trainer.save()
    assert trainer.clock.state() == dict.fromkeys(trainer.clock.state(), 0) | {"train": 3}
    assert trainer.spent.device_seconds == 3


def test_finish_exports_the_averaged_weights(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path, budget=Budget(steps=3))
    train_match([trainer])
    assert trainer._batches._ahead == {}
    arm = copy.deepcopy(toy.build("crossflow", 8))
    arm.load_state_dict(load_file(tmp_path / "crossflow" / "weights.safetensors"))
    assert same(weights(arm), weights(trainer.ema.module))
    assert not same(weights(arm), weights(trainer.arm))


def test_clipping_is_off_unless_asked(toy, tmp_path):
    free, clipped = (
        toy.make_trainer(tmp_path / str(clip), clip=clip, warmup=0.0) for clip in (None, 1e-6)
    )
    free.step()
    clipped.step()
    assert free.last["grad_norm"] == clipped.last["grad_norm"]
    grads = [
        torch.cat([p.grad.flatten() for p in t.arm.parameters() if p.grad is not None]).norm()
        for t in (free, clipped)
    ]
    assert float(grads[0]) == pytest.approx(free.last["grad_norm"], rel=1e-4)
    assert float(grads[1]) == pytest.approx(1e-6, rel=1e-2)


def test_bf16_trains_and_keeps_fp32_weights(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path, budget=Budget(steps=3), precision="bf16", warmup=0.0)
    trainer.run()
    plain = toy.make_trainer(tmp_path / "fp32", budget=Budget(steps=3), warmup=0.0)
    plain.run()
    assert all(p.dtype == torch.float32 for p in trainer.arm.parameters())
    assert trainer.last["loss"] != plain.last["loss"]
    assert trainer.last["loss"] == pytest.approx(plain.last["loss"], rel=0.05)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recomputing_blocks_changes_no_bit_and_costs_a_forward_pass(
    toy, tmp_path, method, precision
):
    """Their forward pass runs twice, and only in training."""
    trainers, calls = [], []
    for recompute in (False, True):
        folder, settings = tmp_path / str(recompute), {"precision": precision, "warmup": 0.0}
        trainer = toy.make_trainer(folder, method, recompute=recompute, **settings)
        trainer.arm.net.blocks[0].mlp.register_forward_hook(lambda *_: calls.append(1))
        trainer.step()
        trainer.step()
        calls.append(-2 * (1 + recompute))
        trainers.append(trainer)
    kept, again = trainers
    assert sum(calls) == 0
    for name in ("loss", "terms", "grad_norm", "flops"):
        assert kept.last[name] == again.last[name]
    gradients = ([p.grad for p in trainer.arm.parameters()] for trainer in trainers)
    for one, other in zip(*gradients, strict=True):
        assert one is other or torch.equal(one, other)
    assert same(weights(kept.arm), weights(again.arm))


def test_chunks_of_a_batch_are_the_bits_of_a_run(toy, tmp_path):
    """Sums are rounded otherwise. Checkpoints from before there were chunks are still read."""
    seen, chunked = [], toy.make_trainer(tmp_path, accumulate=4)
    chunked.arm.net.register_forward_pre_hook(lambda net, given: seen.append(len(given[0])))
    chunked.step()
    chunked.save()
    assert seen == [2] * 4
    with pytest.raises(InputError, match=r"accumulate was 4"):
        toy.make_trainer(tmp_path).resume()
    assert "accumulate" not in toy.make_trainer(tmp_path)._identity()


def test_a_budget_is_checked_before_anything_is_written(toy, tmp_path):
    with pytest.raises(InputError, match="exactly one limit"):
        toy.make_trainer(tmp_path, budget=Budget(steps=1, samples=1))
    assert not (tmp_path / "crossflow").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_eight_pairs_can_be_learned_by_heart(toy, tmp_path, method):
    store = toy.make_store(tmp_path / "store", rows=8)
    # Each pair stands four times in a batch; 3 of the 32 rows are null rows.
    settings = {"batch": 32, "lr": 2e-3, "beta2": 0.99, "weight_decay": 0.0}
    trainer = toy.make_trainer(tmp_path, method, Budget(steps=500), **settings)
    trainer.run()
    arm, pair = trainer.ema.module, store.pairs(range(8))
    with torch.no_grad():
        ends = arm.method.sample_ends(pair.source, ItemDraws(0, range(8)))
        samples = arm.method.sample(arm.net, ends, Grid(20, "heun")).x
    error = float((samples - pair.target).square().mean())
    # The targets have variance 1: another pair's target has an error of 2, their mean one of 1.
    assert error < 0.15
    nearest = torch.cdist(samples.flatten(1), pair.target.flatten(1)).argmin(1)
    assert nearest.tolist() == list(range(8))
