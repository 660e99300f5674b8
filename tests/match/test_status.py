"""status.json: what a process tells of its match, whatever becomes of it."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.config.schema import Config, check
from benchmarks.match import status
from benchmarks.match.status import Status, read
from crossflow.errors import InputError


@pytest.fixture
def match(tmp_path):
    """What a status reads of a match."""
    config = Config()
    check(config)
    methods = ("regression", "crossflow")
    return SimpleNamespace(
        config=config,
        name="depth_tabletop-s0-01234567",
        shared=tmp_path,
        modules=dict.fromkeys(methods),
        ids={method: f"depth_tabletop-{method}-s0-01234567" for method in methods},
    )


def states(path: Path) -> dict[str, str]:
    return {arm.method: arm.state for arm in read(path / "status.json").arms}


def test_a_match_is_told_from_its_start_to_its_end(match):
    kept = Status()
    shown = []
    show = kept.relay(lambda *stage: shown.append(stage))
    with kept.kept(match, done=["regression"]):
        assert states(match.shared) == {"regression": "done", "crossflow": "waiting"}
        kept.arm("crossflow", "training")
        show("crossflow: training", 5, 20, "of 2e13 flops")
        kept.write()
        now = read(match.shared / "status.json")
        assert (now.stage, now.share, now.ended) == ("crossflow: training", 0.25, None)
        assert (now.budget_kind, now.budget_limit) == ("flops", 2e13)
        assert now.started <= now.beat <= time.time()
        kept.arm("crossflow", "failed", "loss inf")
    last = read(match.shared / "status.json")
    assert shown == [("crossflow: training", 5, 20, "of 2e13 flops")]
    assert last.ended is not None
    assert (last.stage, last.error) == (None, None)
    assert [(arm.state, arm.error) for arm in last.arms] == [("done", None), ("failed", "loss inf")]
    assert [path.name for path in match.shared.iterdir()] == ["status.json"]


def test_the_heart_beats_while_the_process_is_busy(match, monkeypatch):
    """A long evaluation calls nothing; without the thread it would look like a killed run."""
    monkeypatch.setattr(status, "BEAT_SECONDS", 0.01)
    kept = Status()
    with kept.kept(match, done=[]):
        first = read(match.shared / "status.json").beat
        deadline = time.monotonic() + 30
        while read(match.shared / "status.json").beat <= first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    last = read(match.shared / "status.json").beat
    time.sleep(0.05)
    assert read(match.shared / "status.json").beat == last


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyboardInterrupt(), "interrupted"), (InputError("why"), "InputError: why")],
)
def test_an_end_before_the_end_is_told(match, error, said):
    kept = Status()

    def break_off():
        with kept.kept(match, done=[]):
            kept.arm("crossflow", "training")
            raise error

    with pytest.raises(type(error)):
        break_off()
    last = read(match.shared / "status.json")
    assert last.error == said
    assert last.ended is not None
    assert states(match.shared)["crossflow"] == "training"


def test_a_disk_that_is_full_is_told_once_and_stops_nothing(match, monkeypatch, capsys):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(status, "_replace", full)
    kept = Status()
    with kept.kept(match, done=[]):
        kept.arm("crossflow", "training")
        kept.arm("crossflow", "trained")
    error = capsys.readouterr().err
    assert error.count("No space left on device") == 1
    assert str(match.shared / "status.json") in error


def test_notes_add_up(match):
    kept = Status()
    with kept.kept(match, done=[]):
        kept.note("one")
        kept.note("two")
    assert read(match.shared / "status.json").note == "one; two"


def test_before_a_match_is_kept_nothing_is_written(tmp_path):
    kept = Status()
    kept.note("early")
    kept.stage("early")
    kept.arm("crossflow", "training")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema"),
        ({"pid": "x"}, "pid"),
        ({"more": 1}, "more"),
        ({"beat": None}, "beat"),
    ],
)
def test_a_wrong_field_is_named(match, change, said):
    with Status().kept(match, done=[]):
        pass
    path = match.shared / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"status.json: {said}"):
        read(path)
