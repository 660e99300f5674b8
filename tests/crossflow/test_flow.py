"""The library from a data set to samples, and the page that shows it."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import StackDataset, TensorDataset

from baselines import flow_matching, regression
from crossflow import (
    Budget,
    Flow,
    Grid,
    InputError,
    MapShape,
    Problem,
    TokenShape,
    Training,
    build_arm,
    checkpoint,
    crossflow,
    make_store,
)
from crossflow.network import SIZES, Size
from crossflow.train import Trainer

MAP = MapShape(2, 8, 8)
TEXT = Problem(TokenShape(6, vocabulary=9), MAP, 4, "variational", "contrastive")
PAGE = Path(__file__).parents[2] / "docs/library.md"


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(SIZES, "toy", Size(depth=4, width=64, heads=2, hidden=256))


def captioned() -> StackDataset:
    """Six images with two captions each, as dictionaries."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(12)
    return StackDataset(
        source=torch.randint(0, 9, (12, 6), generator=generator, dtype=torch.int32),
        target=5 + 3 * torch.randn(6, 2, 8, 8, generator=generator)[rows // 2],
        mask=torch.arange(6) < 3 + rows[:, None] % 4,
        group=(rows // 2).tolist(),
    )


def test_the_page_runs_in_thirty_lines(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    root = str(PAGE.parents[1])
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True
    )
    assert (run.stderr, run.stdout) == ("", "torch.Size([4, 1, 16, 16])\n")


def test_a_saved_flow_gives_the_same_samples(tmp_path):
    data = captioned()
    store = make_store(tmp_path / "store", TEXT, data, {"data": 1})
    pair = store.pairs(range(12))
    assert pair.groups.tolist() == [row // 2 for row in range(12)]
    assert pair.source.mask.sum(1).tolist() == [3, 4, 5, 6] * 3
    assert torch.equal(pair.source.values, data.datasets["source"].long())
    arm = build_arm(flow_matching, TEXT, "toy", options={"path": "sin_cos"}, name="mine")
    flow = Flow.train(arm, store, Budget(steps=3), tmp_path / "run", Training(batch=8))
    flow.save(tmp_path / "flow.safetensors")
    again = Flow.load(tmp_path / "flow.safetensors", flow_matching)
    assert (again.arm.name, again.arm.laws["path"]) == ("mine", "sin_cos")
    words, mask = data.datasets["source"][:3], pair.source.mask[:3]
    first = flow.sample(words, mask, Grid(2), guidance=2.0, seed=4)
    assert torch.equal(again.sample(words, mask, Grid(2), guidance=2.0, seed=4), first)
    assert not torch.equal(flow.sample(words, mask, Grid(2), seed=5), first)
    # In the units of the data, whatever else comes in the same call.
    assert abs(first.mean() - 5) < 3
    assert first.std() > 1.5
    alone = flow.sample(words[:1], mask[:1], Grid(2), guidance=2.0, seed=4)
    torch.testing.assert_close(alone, first[:1], rtol=1e-4, atol=1e-4)


def test_the_weak_copy_is_the_average_of_its_moment_and_is_saved_too(tmp_path):
    store = make_store(tmp_path / "store", TEXT, captioned(), {"data": 1})
    options = {"guidance": "autoguidance", "weak_share": 0.5}
    arm = build_arm(crossflow, TEXT, "toy", options=options)
    trainer = Trainer(arm, store, Budget(steps=4), Training(batch=8), tmp_path / "run")
    trainer.step()
    assert trainer.average.method.weak is None
    trainer.step()
    kept = {name: x.clone() for name, x in trainer.average.net.state_dict().items()}
    trainer.run()
    trainer.finish()
    weak = trainer.average.method.weak.state_dict()
    assert all(torch.equal(x, kept[name]) for name, x in weak.items())
    assert not all(torch.equal(x, kept[n]) for n, x in trainer.average.net.state_dict().items())
    flow = Flow(trainer.average, store.statistics)
    flow.save(tmp_path / "flow")
    words, mask = captioned().datasets["source"][:3], store.pairs(range(3)).source.mask
    plain, guided, again = (
        each.sample(words, mask, Grid(2), guidance)
        for each, guidance in (
            (flow, 1.0),
            (flow, 2.0),
            (Flow.load(tmp_path / "flow", crossflow), 2.0),
        )
    )
    assert torch.equal(guided, again)
    assert not torch.equal(guided, plain)


def test_a_loaded_flow_is_not_in_training_and_not_of_another_method(tmp_path):
    problem = Problem(MAP, MAP, 4, "variational", None)
    arm = build_arm(flow_matching, problem, "toy")
    still = {name: {"mean": [0.0, 0.0], "std": [1.0, 1.0]} for name in ("source", "target")}
    Flow(arm, still).save(tmp_path / "f")
    flow = Flow.load(tmp_path / "f", flow_matching)
    assert not flow.arm.training
    with pytest.raises(InputError, match="has the weights of FlowMatching, not of Regression"):
        Flow.load(tmp_path / "f", regression)
    weights, facts = checkpoint.read(tmp_path / "f", torch.device("cpu"))
    weights[""]["net.of_old"] = torch.zeros(1)
    checkpoint.write(tmp_path / "old", weights, facts)
    with pytest.raises(InputError, match=r"old: weights of another version.*net\.of_old"):
        Flow.load(tmp_path / "old", flow_matching)
    for wrong in ((2, 8, 8), (4, 1, 8, 8), (4, 2, 16, 16)):
        with pytest.raises(InputError, match=r"sources are n x \(2, 8, 8\), not \("):
            flow.sample(torch.zeros(wrong))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"null_rate": 0.3}, r"problem null_rate was 0\.1, is 0\.3"),
        ({"charge": None}, "problem charge was 'contrastive', is None"),
        ({"size": "wider"}, "backbone hidden was 256, is 512"),
        ({"method": flow_matching}, "method was 'CrossFlow', is 'FlowMatching'"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, monkeypatch, change, message):
    monkeypatch.setitem(SIZES, "wider", Size(depth=4, width=64, heads=2, hidden=512))
    store = make_store(tmp_path / "store", TEXT, captioned(), "captions")
    run = store, Budget(steps=1), tmp_path / "run", Training(batch=8)
    Flow.train(build_arm(crossflow, TEXT, "toy"), *run)
    method, size = change.pop("method", crossflow), change.pop("size", "toy")
    other = build_arm(method, replace(TEXT, **change), size, name="crossflow")
    with pytest.raises(InputError, match=f"cannot resume .*{message}.*or another folder"):
        Flow.train(other, *run)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_features_are_sampled_as_they_were_stored(dtype):
    problem = Problem(TokenShape(6, width=3), MAP, 4, "variational", None)
    flow = Flow(build_arm(crossflow, problem, "toy"), {"target": {"mean": [0.0], "std": [1.0]}})
    features = torch.arange(36).reshape(2, 6, 3)
    given, expected = (flow.sample(features.to(d), grid=Grid(1)) for d in (dtype, torch.float32))
    assert torch.equal(given, expected)


def test_a_store_of_other_rows_or_shapes_is_refused(tmp_path):
    target = torch.randn(8, 2, 8, 8)
    data = TensorDataset(target, target)
    problem = Problem(MAP, MAP, 4, "variational", None)
    make_store(tmp_path / "s", problem, data, {"data": 1})
    for other, rows, message in (
        (replace(problem, encoder="identity"), data, "encoder was 'variational', is 'identity'"),
        (replace(problem, patch=2), TensorDataset(target[1:], target[1:]), "rows was 8, is 7"),
        (replace(problem, target=MapShape(1, 8, 8)), data, "target was .*channels=2.*channels=1"),
    ):
        with pytest.raises(InputError, match=f"made from something else .*{message}"):
            make_store(tmp_path / "s", other, rows, {"data": 1})


def test_mistakes_in_items_are_one_line(tmp_path):
    target = torch.randn(4, 2, 8, 8)
    words = torch.full((4, 6), 9)
    for data, message in (
        (TensorDataset(words, target, target), r"an item is \(source, target\), or a dictionary"),
        (TensorDataset(words, target), "source: word ids must be from 0 to 8"),
        (TensorDataset(words % 9, target.double()), "target: float64, not one of float16"),
    ):
        with pytest.raises(InputError, match=message):
            make_store(tmp_path / "s", TEXT, data, "mine")
    spoken = replace(TEXT, words=TokenShape(6, vocabulary=9))
    for ids in (words, words - 10, words / 2):  # beyond, before, between
        data = StackDataset(source=words % 9, target=target, words=ids)
        with pytest.raises(InputError, match="words: word ids must be from 0 to 8"):
            make_store(tmp_path / "s", spoken, data, "mine")


def test_a_source_that_is_the_start_keeps_the_targets_standard(tmp_path):
    problem = Problem(MAP, MAP, 4, "identity", None, 0.0)
    target = 5 + 3 * torch.randn(12, 2, 8, 8)
    store = make_store(tmp_path / "s", problem, TensorDataset(0.8 * target, target), {})
    assert store.statistics["source"] == store.statistics["target"]
    flow = Flow.train(
        build_arm(crossflow, problem, "toy"), store, Budget(steps=1), tmp_path / "run"
    )
    flow.save(tmp_path / "f")  # without the options that mean nothing here
    assert Flow.load(tmp_path / "f", crossflow).sample(target[:2]).shape == (2, 2, 8, 8)


def test_weights_of_something_else_are_refused(tmp_path):
    checkpoint.write(tmp_path / "w", {"": {"a": torch.zeros(2)}}, {"method": "toy"})
    with pytest.raises(InputError, match=r"was not written by Flow\.save"):
        Flow.load(tmp_path / "w", crossflow)


def test_a_failure_is_raised(tmp_path):
    store = make_store(tmp_path / "store", TEXT, captioned(), {})
    arm = build_arm(crossflow, TEXT, "toy")
    torch.nn.init.constant_(next(arm.net.parameters()), torch.inf)
    with pytest.raises(RuntimeError, match="not finite at step 0"):
        Flow.train(arm, store, Budget(steps=1), tmp_path / "run", Training(batch=8))


def test_names_are_looked_up_without_torch():
    import crossflow as library

    assert all(getattr(library, name) is not None for name in library.__all__)
    code = "import sys, crossflow; crossflow.Budget; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = library.Nothing
