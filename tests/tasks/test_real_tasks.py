"""The tasks on real files, from the list file to the record: train, sample, score, score again."""

import numpy as np
import pytest

from benchmarks import evaluate, records, run
from benchmarks.conf import command
from benchmarks.metrics import inception

TINY = ["training.batch=8", "sampling.steps=1", "sampling.solver=euler", "budget.samples=16"]


def match(tmp_path, *arguments):
    places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}"]
    assert command.run(run.job, [*TINY, *arguments, *places], command="run") == 0
    return {record.method: record for record in records.read_all(tmp_path / "out")}


def score_again(tmp_path, record, *arguments):
    """What `evaluate` makes of the files a run left."""
    predictions = tmp_path / "work" / record.task / record.run_id / "predictions"
    out = tmp_path / "again"
    places = [f"predictions={predictions}", "name=again", f"out={out}", f"work={tmp_path / 'w'}"]
    assert command.run(evaluate.job, [*arguments, *places], command="evaluate") == 0
    return records.read_all(out)[0]


def test_nyu(bench_data, tmp_path):
    data = ["task=depth_nyu", f"task.root={bench_data / 'roots' / 'nyu'}", "task.limit=5"]
    found = match(tmp_path, *data, "task.size=24")
    assert set(found) == {"floor", "oracle", "regression", "flow_matching", "crossflow"}
    # A truth of 24 rows, enlarged to 480, loses the edges of things and little else.
    assert found["oracle"].scores["absrel"].value < 0.05
    assert found["floor"].scores["absrel"].value > 0.2
    for record in found.values():
        assert record.scores["absrel"].n == 5
    again = score_again(tmp_path, found["crossflow"], *data)
    assert again.scores == found["crossflow"].scores
    assert again.score_key == found["crossflow"].score_key


@pytest.mark.parametrize("folder", ["roots/imagenet", "imagenet/tiny64"])
def test_imagenet(bench_data, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(inception, "find_inception", lambda *_: (None, "no weights here"))
    data = ["task=sr_imagenet", f"task.root={bench_data / folder}", "task.size=64", "task.limit=5"]
    found = match(tmp_path, *data, "task.train_limit=16", "methods=crossflow+flow_matching")
    assert found["oracle"].scores["psnr_rgb"].value == 80
    assert 15 < found["floor"].scores["psnr_y"].value < 40
    assert found["crossflow"].unavailable["kid@5"] == "no weights here"
    # The source is the enlarged picture itself: after two steps still close to bicubic.
    floor, ours = (found[name].scores["psnr_y"].value for name in ("floor", "crossflow"))
    assert np.isclose(floor, ours, atol=3)
    again = score_again(tmp_path, found["crossflow"], *data)
    assert again.scores == found["crossflow"].scores


def test_validation_shares_no_scene_with_training(bench_data):
    """It is cut by scene, and the cut does not depend on the order of the list."""
    from benchmarks.tasks import nyu_reader
    from benchmarks.tasks.validation import cut

    frames = nyu_reader.frames(bench_data / "roots" / "nyu", "train")
    train, held_out = cut(frames, lambda frame: frame.group, None, None)
    assert len(train) + len(held_out) == len(frames)
    assert len(held_out) >= 2
    assert not {frame.group for frame in train} & {frame.group for frame in held_out}
    backwards = cut(frames[::-1], lambda frame: frame.group, None, None)
    assert {frame.id for frame in backwards[1]} == {frame.id for frame in held_out}
