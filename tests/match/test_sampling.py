"""Guidance from one grid for every arm; the flip test: a mean of two predictions, both counted."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.match.sampling import (
    GUIDANCE,
    HIGHEST,
    LOWEST,
    Sampler,
    Trial,
    choose_guidance,
    item_number,
)
from benchmarks.metrics.score import Score
from crossflow.problem import Source


def chosen(value, better="higher"):
    return choose_guidance(lambda w: Trial(w, 8, 16, "score", Score(value(w), None, 4, better)))


def test_the_best_inside_the_grid():
    best, trials = chosen(lambda w: -abs(w - 2.2))
    assert best == 2
    assert [trial.guidance for trial in trials] == sorted(GUIDANCE)


@pytest.mark.parametrize("optimum", [7.0, 0.6])
def test_the_grid_grows_until_the_best_is_inside(optimum):
    best, trials = chosen(lambda w: abs(w - optimum), "lower")
    weights = [trial.guidance for trial in trials]
    assert min(weights) < best < max(weights) or best == LOWEST
    assert abs(best - optimum) == min(abs(w - optimum) for w in weights)


def test_the_grid_ends_somewhere():
    best, _ = chosen(lambda w: w)
    assert 1 < best <= HIGHEST
    assert chosen(lambda w: -w)[0] == LOWEST


def test_among_equals_one_evaluation_is_enough():
    assert chosen(lambda w: 0.0)[0] == 1


def test_an_items_number_depends_on_its_name_alone():
    assert item_number("bathroom/rgb_00045") == item_number("bathroom/rgb_00045")
    assert len({item_number(str(i)) for i in range(1000)}) == 1000


class Rows:
    """Three rows of 1 x 2 x 3 maps; targets have mean 10 and deviation 2."""

    ids = ("a", "b", "c")

    def __init__(self):
        self.statistics = {"target": {"mean": [10.0], "std": [2.0]}}
        self.values = torch.arange(18.0).reshape(3, 1, 2, 3)

    def __len__(self):
        return 3

    def pairs(self, rows):
        return SimpleNamespace(source=Source(self.values[rows]))


class LeftSide:
    """Predicts the source, and one more in the first column: no mirrored prediction is the same."""

    def __init__(self):
        self.noise, self.half = [], []

    def sample_ends(self, source, draws):
        self.half.append(torch.is_autocast_enabled("cpu"))
        self.noise.append(draws.normal("x0", (1,)))
        return source.values

    def sample(self, net, ends, grid, guidance):
        self.half.append(torch.is_autocast_enabled("cpu"))
        return SimpleNamespace(x=ends + torch.tensor([1.0, 0, 0]), nfe=5)


def predict(flip, batch=2, precision="fp32"):
    method = LeftSide()
    arm = SimpleNamespace(method=method, net=None)
    sampler = Sampler(grid=None, batch=batch, seed=0, device="cpu", flip=flip, precision=precision)
    return sampler.predict(arm, Rows(), lambda x: list(x.numpy()), 1.0), method


def test_the_mean_of_two_and_the_calls_of_both():
    plain, _ = predict(False)
    flipped, method = predict(True)
    source = Rows().values.numpy() * 2 + 10
    assert np.allclose(np.stack(plain.values), source + np.array([2, 0, 0]))
    assert np.allclose(np.stack(flipped.values), source + np.array([1, 0, 1]))
    assert (plain.nfe, flipped.nfe) == (5, 10)
    assert torch.equal(method.noise[0], method.noise[1]), "both with the same draws"


def test_the_batch_size_changes_nothing():
    one, three = (np.stack(predict(True, batch)[0].values) for batch in (1, 3))
    assert np.array_equal(one, three)


def test_bf16_is_of_the_network_not_of_the_encoder():
    assert predict(False, 3)[1].half == [False, False]
    assert predict(False, 3, "bf16")[1].half == [False, True]
