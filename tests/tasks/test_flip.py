"""The flip test: a mean of two predictions, both counted, never beside rows without it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import run
from benchmarks.config import command
from benchmarks.match.sampling import Sampler
from benchmarks.records import keys
from benchmarks.records import record as records
from crossflow.problem import Source


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
        self.noise = []

    def sample_ends(self, source, draws):
        self.noise.append(draws.normal("x0", (1,)))
        return source.values

    def sample(self, net, ends, grid, guidance):
        return SimpleNamespace(x=ends + torch.tensor([1.0, 0, 0]), nfe=5)


def predict(flip, batch=2):
    method = LeftSide()
    arm = SimpleNamespace(method=method, net=None)
    sampler = Sampler(grid=None, batch=batch, seed=0, device="cpu", flip=flip)
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


def match(tmp_path, *fields):
    tiny = ["training.batch=4", "budget.samples=8", "sampling.steps=2", "sampling.solver=euler"]
    places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}"]
    return command.run(run.job, [*tiny, *fields, *places], command="run")


def test_rows_with_and_without_it_are_never_mixed(make_labeled, tmp_path):
    root, _, _ = make_labeled(tmp_path / "mat")
    fields = ["task=depth_nyu", f"task.root={root}", "task.layout=labeled", "task.size=24"]
    fields += ["methods=regression"]
    assert match(tmp_path, *fields) == 0
    assert match(tmp_path, *fields, "task.flip_test=true") == 0
    found = [r for r in records.read_all(tmp_path / "out") if r.method == "regression"]
    plain, flipped = sorted(found, key=lambda record: record.model.nfe)
    assert (plain.model.nfe, flipped.model.nfe) == (1, 2)
    assert plain.model.solver is flipped.model.solver is None, "one pass, whatever the count"
    assert flipped.model.sample_flops == 2 * plain.model.sample_flops
    assert plain.score_key != flipped.score_key
    assert plain.fair_key != flipped.fair_key
    assert "options.flip_test: False / True" in keys.differing(plain.fair.score, flipped.fair.score)
    assert flipped.fair.fair["largest_nfe"] == 2 * plain.fair.fair["largest_nfe"]
    assert plain.scores["absrel"].value != flipped.scores["absrel"].value


@pytest.mark.parametrize("task", ["depth_tabletop", "sr_tabletop"])
def test_tasks_that_do_not_know_it_refuse_it(task, tmp_path, capsys):
    assert match(tmp_path, f"task={task}", "task.flip_test=true") == 2
    assert "task.flip_test=True" in capsys.readouterr().err
