"""Progress lines; trackers: a mirror that changes no result and whose failure stops none."""

import sys
from types import SimpleNamespace

import pytest

from benchmarks.config.schema import CHOICES, Config, check
from benchmarks.match import progress
from benchmarks.match.job import run_ids
from benchmarks.match.progress import Progress, Tracker, weights_and_biases
from benchmarks.metrics.score import Score
from benchmarks.records import record as records
from crossflow.errors import InputError
from tests.match.tiny import by_method, call, places

ABOUT = {"run_id": "run-1", "match": "match-1", "seed": 0}
SCORES = {"absrel_object": Score(0.5, None, 4, "lower")}


def line(steps: int) -> dict:
    spent = {"steps": steps, "samples": 8 * steps, "device_seconds": 1.0, "flops": 1e9}
    losses = {"loss": 1 / steps, "terms": {"flow": 0.5, "kl": 2.0}, "grad_norm": 3.0}
    rates = {"lr": 1e-3, "samples_per_second": None if steps == 1 else 8.0}
    return {**spent, **losses, **rates, "fraction": steps / 10}


class Fake:
    """A tracker that keeps what it is told, and fails when it is told to."""

    made: list["Fake"] = []  # noqa: RUF012

    def __init__(self, folder, about):
        self.about, self.logged, self.closed, self.fails_at = about, {}, False, None
        Fake.made.append(self)

    def log(self, numbers, step):
        if step == self.fails_at:
            raise ConnectionError("the network\nis gone")
        print("chatter")  # as trackers do: it must not reach stdout, which is for records
        self.logged[step] = numbers

    def finish(self):
        self.closed = True


@pytest.fixture
def fake(monkeypatch):
    Fake.made = []
    monkeypatch.setitem(progress.KINDS, "wandb", Fake)
    monkeypatch.setitem(sys.modules, "wandb", sys)
    return Fake.made


def test_a_tracker_changes_no_name_and_no_record():
    assert set(CHOICES["tracker"]) == {"none", *progress.KINDS}
    plain, tracked = Config(), Config(tracker="wandb")
    for config in (plain, tracked):
        check(config)
    assert records.recorded_config(plain) == records.recorded_config(tracked)
    assert run_ids(plain) == run_ids(tracked)
    with pytest.raises(InputError, match="tracker=mlflow: must be one of none, tensorboard, wandb"):
        check(Config(tracker="mlflow"))


@pytest.mark.parametrize("kind", progress.KINDS)
def test_a_missing_package_is_one_line_before_the_first_step(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    assert call(f"tracker={kind}", *places(tmp_path)) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"tracker={kind} needs {kind}" in error
    assert "pip install 'crossflow-bench[trackers]'" in error
    assert list(tmp_path.iterdir()) == []


def test_lines_and_scores_are_mirrored_and_a_failure_is_told_once(fake, tmp_path, capsys):
    mirror = Tracker("wandb")
    for arm in ("crossflow", "regression"):
        mirror.open(arm, tmp_path / arm, ABOUT)
    fake[1].fails_at = 2
    for arm in ("crossflow", "regression"):
        for step in (1, 2, 3):
            mirror.line(arm, line(step))
    mirror.scores("crossflow", SCORES, 3)
    mirror.close()
    first, second = fake
    assert (first.about, first.closed) == (ABOUT, True)
    assert first.logged[4] == {"scores/absrel_object": 0.5}
    assert list(second.logged) == [1]
    numbers = first.logged[1]
    assert (numbers["crossflow/loss"], numbers["crossflow/terms/kl"]) == (1, 2)
    assert "train/samples_per_second" not in numbers, "null is no number"
    shared = {f"train/{x}" for x in ("samples", "device_seconds", "flops", "fraction", "lr")}
    assert numbers.keys() & second.logged[1].keys() == shared, "losses of two arms share no axis"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("WARNING: tracker=wandb of regression gave up") == 1
    assert "ConnectionError: the network is gone" in printed.err


def test_a_tracker_that_does_not_begin_is_a_mistake(fake, monkeypatch, tmp_path):
    def refuse(*about):
        raise PermissionError("no API key")

    monkeypatch.setitem(progress.KINDS, "wandb", refuse)
    with pytest.raises(InputError, match="tracker=wandb: PermissionError: no API key"):
        Tracker("wandb").open("crossflow", tmp_path, ABOUT)


def test_a_match_whose_tracker_breaks_ends_with_equal_records(fake, tmp_path, capsys, monkeypatch):
    """End to end: same run_id, same record; the failure stands on stderr."""
    stable = {}
    monkeypatch.setattr(Fake, "log", lambda self, *about, **rest: 1 / 0)
    for kind in ("none", "wandb"):
        assert call("methods=regression", f"tracker={kind}", *places(tmp_path / kind)) == 0
        rows = by_method(tmp_path / kind / "out")
        stable[kind] = {name: record.stable() for name, record in rows.items()}
    assert stable["none"] == stable["wandb"]
    error = capsys.readouterr().err
    assert error.count("WARNING: tracker=wandb of regression gave up (ZeroDivisionError") == 1


@pytest.mark.filterwarnings("default")  # theirs
def test_tensorboard_holds_each_step_once_after_a_kill(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard (extra `trackers`) is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first, again = Tracker("tensorboard"), Tracker("tensorboard")
    first.open("crossflow", tmp_path, ABOUT)
    for step in range(1, 8):
        first.line("crossflow", line(step))
    first._runs["crossflow"].writer.flush()  # then the process is killed; the checkpoint is of 5
    again.open("crossflow", tmp_path, ABOUT)
    for step in range(6, 10):
        again.line("crossflow", line(step))
    again.close()  # interrupted while it was scored
    last = Tracker("tensorboard")
    last.open("crossflow", tmp_path, ABOUT)
    last.scores("crossflow", SCORES, 9)
    last.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()

    def values(tag):
        return [(event.step, event.value) for event in events.Scalars(tag)]

    losses = [(step, pytest.approx(1 / step)) for step in range(1, 10)]
    assert values("crossflow/loss") == losses
    assert values("scores/absrel_object") == [(10, 0.5)]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_wandb_keeps_its_id_only_where_the_training_goes_on(tmp_path, monkeypatch, checkpoint):
    """A training that starts again under the old id would keep the old numbers of equal steps."""
    wandb = SimpleNamespace(init=lambda **given: ids.append(given["id"]), Settings=lambda **x: None)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    ids: list[str] = []
    weights_and_biases(tmp_path, ABOUT)
    if checkpoint:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.safetensors").touch()
    weights_and_biases(tmp_path, ABOUT)
    assert (ids[0] == ids[1]) == checkpoint


def test_time_left_counts_what_this_process_did(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("benchmarks.match.progress.time.monotonic", lambda: now[0])
    report = Progress()
    report("encoding", 9000, 10_000)  # an earlier process did them
    now[0] += 20
    report("encoding", 9200, 10_000)
    now[0] += 80
    report("encoding", 10_000, 10_000)
    report("train", 0, 400_000_000)
    now[0] += 3600
    report("train", 4_000_000, 400_000_000, "note")
    assert capsys.readouterr().err.splitlines() == [
        "[0:00] encoding:  90%",
        "[0:20] encoding:  92%, 1:20 left",
        "[1:40] encoding: 100%",
        "[0:00] train:   0%",
        "[1:00:00] train:   1%, 99:00:00 left  note",
    ]


def test_a_terminal_has_one_line_that_is_renewed(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    report = Progress()
    for done in range(4):
        report("train", done, 3)
    report.close()
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.endswith("[0:00] train: 100%\n")
