"""Autoregressive: a word sees the picture and what stands before it, and is decoded greedily."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from baselines import autoregressive
from benchmarks.match import calibration, planning, recording
from crossflow import Budget, Flow, Training, make_store
from crossflow.arm import TOLERANCE, Arm, build_arm, example_pair
from crossflow.draws import ItemDraws, StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends
from crossflow.network import SIZES, Size
from crossflow.problem import MapShape, Problem, TokenShape
from crossflow.solver import Grid

MAP, WORDS = MapShape(2, 4, 4), TokenShape(6, vocabulary=9)
PROBLEM = Problem(MapShape(3, 4, 4), MAP, 1, "variational", "reconstruction", 0.0, WORDS)
ROWS, ALL = 8, range(8)


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Arm:
    monkeypatch.setitem(SIZES, "toy", Size(depth=6, width=32, heads=2, hidden=128))
    return build_arm(autoregressive, PROBLEM, "toy", batch=ROWS)


def test_it_costs_what_the_reference_costs_and_a_plan_knows(arm: Arm, tmp_path: Path) -> None:
    assert abs(arm.flops_ratio - 1) <= TOLERANCE
    planned = build_arm(autoregressive, PROBLEM, "toy", batch=ROWS, device="meta")
    assert planned.cost == arm.cost
    assert planning.step_memory(planned, ROWS, "bf16", cpu=True)[0] > 0
    still: Any = torch.nn.Module()
    still.forward = lambda x, *given: x
    assert arm.method.sample(still, Ends(torch.zeros(1, *MAP.sizes), None), Grid(3)).nfe == 6
    store = calibration.random_store(arm, ROWS, tmp_path / "store")
    assert store.pairs([0, 1]).words is not None
    assert recording.source_statistics(arm.method, store) is None


def test_the_loss_is_the_cross_entropy_and_trains_every_parameter(arm: Arm) -> None:
    pair = example_pair(PROBLEM, ROWS, "cpu")
    loss = arm(pair, StepDraws(0, 0, ALL, ROWS)).total
    chances = arm.net(pair.words, None, pair.source.values).log_softmax(-1)
    torch.testing.assert_close(loss, -chances.gather(2, pair.words[..., None]).mean())
    loss.backward()
    assert [n for n, p in arm.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_word_sees_the_picture_and_the_words_before_it(arm: Arm) -> None:
    pair = example_pair(PROBLEM, ROWS, "cpu")
    words, picture = pair.words, pair.source.values
    before = arm.net(words, None, picture)
    other = torch.where(torch.arange(6) == 2, (words + 1) % 9, words)
    changed = (arm.net(other, None, picture) != before).any(2).all(0)
    assert changed.tolist() == [False] * 3 + [True] * 3
    assert (arm.net(words, None, picture + 1) != before).any(2).all()


def test_greedy_words_are_the_likeliest_after_each_other(arm: Arm) -> None:
    pair = example_pair(PROBLEM, ROWS, "cpu")
    ends = arm.method.sample_ends(pair.source, ItemDraws(0, ALL))
    sampled = arm.method.sample(arm.net, ends, Grid(2))
    assert sampled.nfe == 6
    assert torch.equal(arm.net(sampled.x, None, ends.cond).argmax(-1), sampled.x)
    with pytest.raises(ValueError, match="guidance must be 1"):
        arm.method.sample(arm.net, ends, Grid(2), 2.0)


def test_where_it_does_not_apply_and_what_it_would_ignore(arm: Arm) -> None:
    for problem in (replace(PROBLEM, words=None), replace(PROBLEM, source=WORDS, charge=None)):
        with pytest.raises(InputError, match=r"autoregressive does not apply: it writes words"):
            build_arm(autoregressive, problem, "toy")
    for option in ({"path": "sin_cos"}, {"times": "uniform"}):
        with pytest.raises(InputError, match="would be ignored"):
            build_arm(autoregressive, PROBLEM, "toy", options=option)


class Told(Dataset):
    """Pictures that hold a number, and captions that repeat it."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, row: int) -> dict[str, Any]:
        generator, number = torch.Generator().manual_seed(row), row % 4
        source = torch.randn(3, 4, 4, generator=generator) + 2.0 * number
        target = torch.randn(*MAP.sizes, generator=generator)
        return {"source": source, "target": target, "words": torch.tensor([1, *[number + 2] * 5])}


def test_it_learns_to_tell_what_it_sees_and_is_saved(arm: Arm, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", PROBLEM, Told(), {"data": 1})
    training = Training(batch=32, lr=3e-3)
    flow = Flow.train(arm, store, Budget(steps=60), tmp_path / "run", training)
    pictures = torch.stack([Told()[row]["source"] for row in ALL])
    told = flow.sample(pictures)
    assert told.tolist() == [Told()[row]["words"].tolist() for row in ALL]
    flow.save(tmp_path / "flow")
    assert torch.equal(Flow.load(tmp_path / "flow", autoregressive).sample(pictures), told)
