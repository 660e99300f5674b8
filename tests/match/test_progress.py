"""Progress lines; trackers: a mirror that changes no result and whose failure stops none."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import run
from benchmarks.config import command
from benchmarks.config.schema import CHOICES, Config, check
from benchmarks.match import progress
from benchmarks.match.match import run_ids
from benchmarks.match.progress import Progress, Tracker, WandB, stats_numbers
from benchmarks.records import keys
from benchmarks.records import record as records
from crossflow.errors import InputError

TINY = [
    *("task=depth_tabletop", "task.train_limit=16", "task.validation_limit=4", "task.limit=4"),
    *("training.batch=8", "sampling.steps=1", "sampling.solver=euler", "budget.samples=16"),
]
TRACKERS = CHOICES["tracker"]


def line(steps: int) -> dict:
    return {
        "steps": steps,
        "samples": 8 * steps,
        "device_seconds": float(steps),
        "flops": 1e9 * steps,
        "fraction": steps / 10,
        "loss": 1 / steps,
        "terms": {"flow": 0.5 / steps, "kl": 2.0},
        "lr": 1e-3,
        "grad_norm": 3.0,
        "samples_per_second": None if steps == 1 else 8.0,
    }


def arm(folder: Path, name: str = "crossflow") -> SimpleNamespace:
    """What a mirror reads of a trainer."""
    spent = SimpleNamespace(steps=0)
    return SimpleNamespace(name=name, folder=folder, last={}, spent=spent)


def go(mirror, trainer, steps) -> None:
    """As the training loop calls it: after each step, with a new line or with that of before."""
    for step in steps:
        trainer.spent.steps = step - 0.5
        mirror.line(trainer)
        trainer.spent.steps, trainer.last = step, line(step)
        mirror.line(trainer)


class Fake:
    """A tracker that keeps what it is told, and fails when it is told to."""

    made: list["Fake"] = []  # noqa: RUF012

    def __init__(self, trainer, match, about):
        self.about, self.logged, self.final, self.closed = about, [], None, False
        self.fails_at = None
        Fake.made.append(self)

    def log(self, step, numbers):
        if step == self.fails_at:
            raise ConnectionError("the network\nis gone")
        print("chatter")  # as trackers do: it must not reach stdout, which is for records
        self.logged.append((step, numbers))

    def end(self, step, scores):
        self.final, self.closed = (step, scores), True


@pytest.fixture
def fake(monkeypatch):
    Fake.made = []
    monkeypatch.setitem(progress.KINDS, "wandb", Fake)
    monkeypatch.setitem(progress.PACKAGES, "wandb", "json")
    return Fake.made


def test_a_tracker_changes_no_name_and_no_record():
    assert set(TRACKERS) == {"none", *progress.KINDS} == {"none", *progress.PACKAGES}
    plain, tracked = Config(), Config(tracker="wandb")
    for config in (plain, tracked):
        check(config)
    recorded = [records.recorded_config(config) for config in (plain, tracked)]
    assert recorded[0] == recorded[1]
    assert "tracker" not in recorded[1]
    names = {keys.run_id("t", "m", {**recorded[0], "tracker": name}) for name in TRACKERS}
    assert names == {keys.run_id("t", "m", recorded[0])}
    assert run_ids(plain) == run_ids(tracked)
    with pytest.raises(InputError, match="tracker=mlflow: must be one of none, tensorboard, wandb"):
        check(Config(tracker="mlflow"))


@pytest.mark.parametrize("kind", [name for name in TRACKERS if name != "none"])
def test_a_missing_package_is_one_line_before_the_first_step(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, progress.PACKAGES[kind], None)
    places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}"]
    assert command.run(run.job, [*TINY, f"tracker={kind}", *places], command="run") == 2
    error = capsys.readouterr().err
    assert f"tracker={kind}: " in error
    assert "pip install 'crossflow-bench[trackers]'" in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_losses_carry_the_arm_and_no_null_is_logged():
    numbers = {name: stats_numbers(name, line(1)) for name in ("crossflow", "regression")}
    assert numbers["crossflow"]["crossflow/loss"] == 1
    assert numbers["crossflow"]["crossflow/terms/kl"] == 2
    assert "train/samples_per_second" not in numbers["crossflow"]
    shared = numbers["crossflow"].keys() & numbers["regression"].keys()
    assert shared == {
        f"train/{x}" for x in ("samples", "device_seconds", "flops", "fraction", "lr")
    }


def test_each_line_is_mirrored_once_and_then_the_scores(fake, tmp_path, capsys, record):
    mirror, trainer = Tracker("wandb"), arm(tmp_path)
    mirror.open(trainer, "run-1", "match-1", {"seed": 0})
    go(mirror, trainer, range(1, 4))
    mirror.record(record())
    mirror.close()
    (told,) = fake
    assert told.about == {"seed": 0, "run_id": "run-1", "method": "crossflow"}
    assert [step for step, _ in told.logged] == [1, 2, 3]
    assert told.final == (10, {"scores/absrel_object": 0.5})
    assert told.closed
    assert capsys.readouterr().out == ""


def test_a_failure_in_the_middle_is_told_once_and_stops_nothing(fake, tmp_path, capsys, record):
    mirror = Tracker("wandb")
    arms = [arm(tmp_path / name, name) for name in ("crossflow", "regression")]
    for trainer in arms:
        mirror.open(trainer, trainer.name, "match-1", {})
    fake[0].fails_at = 2
    for trainer in arms:
        go(mirror, trainer, range(1, 6))
        mirror.record(record(trainer.name))
    error = capsys.readouterr().err
    assert error.count("WARNING: tracker=wandb of crossflow gave up") == 1
    assert "ConnectionError: the network is gone" in error
    assert [step for step, _ in fake[0].logged] == [1]
    assert fake[0].final is None
    assert [step for step, _ in fake[1].logged] == [1, 2, 3, 4, 5]
    assert fake[1].closed


def test_a_tracker_that_does_not_begin_is_a_mistake(fake, monkeypatch, tmp_path, record):
    def refuse(*about):
        raise PermissionError("no API key")

    monkeypatch.setitem(progress.KINDS, "wandb", refuse)
    with pytest.raises(InputError, match="tracker=wandb: PermissionError: no API key"):
        Tracker("wandb").open(arm(tmp_path), "run-1", "match-1", {})
    none, trainer = Tracker("none"), arm(tmp_path)
    none.open(trainer, "run-1", "match-1", {})
    go(none, trainer, [1, 2])
    none.record(record())
    none.close()
    assert not list(tmp_path.iterdir())


def test_a_match_whose_tracker_breaks_ends_with_equal_records(fake, tmp_path, capsys, monkeypatch):
    """End to end: same run_id, same record; the failure stands on stderr."""
    found = {}
    only = [*TINY, "methods=regression"]
    monkeypatch.setattr(Fake, "log", lambda self, *about, **rest: 1 / 0)
    for kind in ("none", "wandb"):
        out, work = tmp_path / kind / "out", tmp_path / kind / "work"
        places = [f"out={out}", f"work={work}", f"tracker={kind}"]
        assert command.run(run.job, [*only, *places], command="run") == 0
        found[kind] = {record.run_id: record.stable() for record in records.read_all(out)}
    assert found["none"] == found["wandb"]
    error = capsys.readouterr().err
    assert error.count("WARNING: tracker=wandb of regression gave up (ZeroDivisionError") == 1


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def values(accumulator, tag: str) -> dict[int, float]:
    found = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    assert len(dict(found)) == len(found), "a step stands there twice"
    return dict(found)


@pytest.mark.filterwarnings("default")  # theirs
def test_tensorboard_holds_each_step_once_after_a_kill(tmp_path, record):
    pytest.importorskip("tensorboard", reason="tensorboard (extra `trackers`) is not installed")
    first = Tracker("tensorboard")
    trainer = arm(tmp_path)
    first.open(trainer, "run-1", "match-1", {"seed": 0, "budget": {"flops": 2e13}})
    go(first, trainer, range(1, 8))
    first._runs["crossflow"].writer.flush()  # then the process is killed
    again = Tracker("tensorboard")
    trainer = arm(tmp_path)
    again.open(trainer, "run-1", "match-1", {"seed": 0})
    trainer.last = line(5)  # what the checkpoint of step 5 knew
    go(again, trainer, range(6, 10))
    again.record(record())
    found = events(tmp_path / "tensorboard")
    expected = {step: pytest.approx(1 / step) for step in range(1, 10)}
    assert values(found, "crossflow/loss") == expected
    assert values(found, "crossflow/terms/kl") == dict.fromkeys(range(1, 10), 2)
    assert 1 not in values(found, "train/samples_per_second")
    assert values(found, "scores/absrel_object") == {10: 0.5}
    assert "loss" not in "".join(
        x for x in found.Tags()["scalars"] if not x.startswith("crossflow")
    )
    text = found.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"seed": 0' in text


@pytest.mark.filterwarnings("default")
def test_tensorboard_keeps_the_last_line_when_only_scores_were_missing(tmp_path, record):
    pytest.importorskip("tensorboard", reason="tensorboard (extra `trackers`) is not installed")
    mirror, trainer = Tracker("tensorboard"), arm(tmp_path)
    mirror.open(trainer, "run-1", "match-1", {})
    go(mirror, trainer, [9, 10])
    mirror.close()  # interrupted while it was scored
    again = Tracker("tensorboard")
    again.open(arm(tmp_path), "run-1", "match-1", {})
    again.record(record())
    found = events(tmp_path / "tensorboard")
    assert sorted(values(found, "crossflow/loss")) == [9, 10]
    assert values(found, "scores/absrel_object") == {10: 0.5}


@pytest.mark.parametrize("checkpoint", [True, False])
def test_wandb_keeps_its_id_only_where_the_training_goes_on(tmp_path, monkeypatch, checkpoint):
    """A training that starts again under the old id would keep the old numbers of equal steps."""
    wandb = SimpleNamespace(init=lambda **given: ids.append(given["id"]), Settings=lambda **x: None)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    ids: list[str] = []
    WandB(arm(tmp_path), "match-1", {"run_id": "run-1"})
    if checkpoint:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.safetensors").touch()
    WandB(arm(tmp_path), "match-1", {"run_id": "run-1"})
    assert (ids[0] == ids[1]) == checkpoint


def test_rate_and_time_left_count_what_this_process_did(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("benchmarks.match.progress.time.monotonic", lambda: now[0])
    report = Progress(rates=True)
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
        "[0:20] encoding:  92%, 1:20 left  10/s",
        "[1:40] encoding: 100%  10/s",
        "[0:00] train:   0%",
        "[1:00:00] train:   1%, 99:00:00 left  1,111/s  note",
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
