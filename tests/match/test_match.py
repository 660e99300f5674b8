"""A whole match through the command line: what it leaves, that it repeats, that it survives."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.config import command
from benchmarks.config.schema import Config
from benchmarks.match.match import finished_rows
from benchmarks.records import record as records
from benchmarks.records import samples
from tests.match.tiny import TINY, by_method, call

METHODS = ("floor", "oracle", "regression", "flow_matching", "crossflow")


def stable(out: Path) -> dict:
    return {method: record.stable() for method, record in by_method(out).items()}


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> tuple[Path, Path]:
    """(out, work) of one finished match."""
    folder = tmp_path_factory.mktemp("match")
    out, work = folder / "out", folder / "work"
    assert call(f"out={out}", f"work={work}") == 0
    return out, work


def test_every_row_has_its_files(places):
    out, work = places
    found = by_method(out)
    assert set(found) == set(METHODS)
    for method, record in found.items():
        name = record.run_id
        with (out / "items" / "depth_tabletop" / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 6
        mean = sum(float(row["absrel"]) for row in rows) / 6
        assert record.scores["absrel"].value == pytest.approx(mean, rel=1e-12)
        kept = samples.read(out / "samples" / "depth_tabletop" / f"{name}.png")
        assert kept.ids == [row["id"] for row in rows]
        folder = work / "depth_tabletop" / name
        assert len(list((folder / "predictions").glob("*.npy"))) == 6
        trained = method not in ("floor", "oracle")
        assert (folder / "weights.safetensors").exists() == trained
    assert len(list((work / "depth_tabletop").glob("*/grid.png"))) == 1


def test_samples_are_what_was_predicted_and_what_is_true(places):
    """Raw metres, so that readers choose colours: the oracle's equal the truth's."""
    import numpy as np

    out, work = places
    found = by_method(out)

    def kept(row):
        return samples.read(samples.path_of(out, "depth_tabletop", row))

    arm, score_key = found["crossflow"], found["crossflow"].score_key
    folder = work / "depth_tabletop" / arm.run_id / "predictions"
    for name, cell in zip(kept(arm.run_id).ids, kept(arm.run_id).cells, strict=True):
        assert np.abs(cell - np.load(folder / f"{name}.npy")).max() <= 0.00051
    truth, oracle = kept(f"truth-{score_key}"), kept(found["oracle"].run_id)
    assert truth.kind == oracle.kind == "depth"
    assert max(np.abs(a - b).max() for a, b in zip(truth.cells, oracle.cells, strict=True)) <= 0.002
    assert kept(f"source-{score_key}").kind == "picture"
    assert kept(f"source-{score_key}").ids == truth.ids


def test_arms_are_equal_but_for_the_method(places):
    found = by_method(places[0])
    assert found["oracle"].scores["absrel_object"].value < 1e-4
    assert found["floor"].scores["absrel_object"].value > 0.2
    arms = [found[name] for name in METHODS[2:]]
    assert len({record.score_key for record in found.values()}) == 1
    assert len({record.fair_key for record in arms}) == 1
    assert found["floor"].fair_key is None
    chains = [record.fair.proof["training_ids"] for record in arms]
    assert chains[0] == chains[1] == chains[2]
    for record in arms:
        assert record.budget.samples == 32
        assert set(record.fair.proof["same_ids_as"].values()) == {True}
        for ratio in ("params_ratio_to_crossflow", "evaluation_flops_ratio_to_crossflow"):
            assert record.fair.proof[ratio] == pytest.approx(1, abs=0.05)
    volatile = found["crossflow"].volatile
    assert volatile.ledgers["train"] == pytest.approx(volatile.device_seconds)
    assert volatile.ledgers["eval"] > 0


def test_the_same_command_trains_nothing_and_prints_the_table(places, capsys):
    out, work = places
    before = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*") if path.is_file()}
    assert call(f"out={out}", f"work={work}") == 0
    printed = capsys.readouterr()
    assert "absrel_object" in printed.out
    assert printed.out.count("record: ") == len(METHODS)
    assert "nothing to do" in printed.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("closed", [True, False])
def test_a_closed_pipe_and_a_terminal_of_other_letters_are_no_failure(places, closed):
    """As of `run ... | head -1`; the table has an arrow and dashes."""
    line = [sys.executable, "-m", "benchmarks.run", *TINY, f"out={places[0]}", f"work={places[1]}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(line, env=ascii_only, **pipes) as process:
        if closed:
            process.stdout.close()
        else:
            assert "absrel_object ?" in process.stdout.read()
        error = process.stderr.read()
    assert (process.returncode, "Traceback" in error) == (0, False), error


def test_a_sweep_ends_with_one_summary_and_what_to_type_next(tmp_path, capsys, monkeypatch):
    """However many jobs: one line a row, seeds together, no wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    places = [f"out={tmp_path / 'a b'}", f"work={tmp_path / 'work'}"]
    small = [*TINY, "methods=regression", "budget.samples=8", *places]
    assert run.main([*small, "-m", "seed=0,1"]) == 0
    said = capsys.readouterr().out
    texts = [line for line in said.splitlines() if not line.startswith(("record: ", "next: "))]
    assert max(map(len, texts)) <= 80
    assert said.count("primary score absrel_object, 6 items") == 2, "a table a job"
    _, last = said.split("\n2 jobs, 0 of them failed or were refused\n")
    (shown,) = (line.split() for line in last.splitlines() if "regression" in line)
    assert "±" in shown and float(shown[-1]) > 0, "of both seeds; seconds"
    assert last.splitlines()[-1].startswith("next: python -m benchmarks.report html --out '/")
    assert run.main([*small, "seed=0"]) == 0
    said = capsys.readouterr().out
    assert "jobs" not in said and said.splitlines()[-1].startswith("next: ")
    assert run.main([*small, "seed=one"]) == 2
    assert capsys.readouterr().out == ""


def test_equal_runs_in_other_places_leave_equal_records(places, tmp_path):
    out = tmp_path / "elsewhere, ü=[1]"
    assert call(f"out={out}", f"work={tmp_path / 'w ö'}") == 0
    assert stable(out) == stable(places[0])


def test_our_predictions_score_the_same_as_anybodys(places, tmp_path, capsys):
    from benchmarks import evaluate

    out, work = places
    record = by_method(out)["crossflow"]
    predictions = work / "depth_tabletop" / record.run_id / "predictions"
    arguments = ["task=depth_tabletop", "task.limit=6", f"predictions={predictions}", "name=mine"]
    arguments += [f"out={tmp_path / 'out'}", f"work={work}"]
    assert command.run(evaluate.job, [*arguments, "task.split=crowd"], command="evaluate") == 2
    assert "6 of 6 files" in capsys.readouterr().err
    assert not (tmp_path / "out" / "records").exists()
    assert command.run(evaluate.job, arguments, command="evaluate") == 0
    scored = by_method(tmp_path / "out")["mine"]
    assert (scored.kind, scored.fair_key) == ("evaluation", None)
    assert (scored.score_key, scored.scores) == (record.score_key, record.scores)


def test_the_same_command_twice_at_once_is_refused(tmp_path, capsys):
    import fcntl

    places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}", "methods=crossflow"]
    assert call(*places) == 0
    found = by_method(tmp_path / "out")["crossflow"]
    records.record_path(tmp_path / "out", "depth_tabletop", found.run_id).unlink()
    lock = tmp_path / "work" / "depth_tabletop" / str(found.match) / "lock"
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert call(*places) == 2
    assert "in use by another process" in capsys.readouterr().err
    assert call(*places) == 0


def test_resume_false_begins_anew(tmp_path):
    """Without a record there may still be a checkpoint: it must not be taken up."""
    out, work = tmp_path / "out", tmp_path / "work"
    line = ["methods=crossflow", f"out={out}", f"work={work}"]
    assert call(*line) == 0
    first = by_method(out)["crossflow"]
    shutil.rmtree(out)
    for number in (2, 3):  # a run folder alone, then a record too
        assert call(*line, "resume=false") == 0
        path = records.record_path(out, "depth_tabletop", f"{first.run_id}-{number}")
        assert records.read(path).scores == first.scores
        stats = (work / "depth_tabletop" / path.stem / "stats.jsonl").read_text()
        assert json.loads(stats.splitlines()[-1])["samples"] == 32


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("victim", ["flow_matching", "crossflow"])
def test_a_killed_match_goes_on_bit_for_bit(tmp_path, victim, precision):
    """SIGKILL while the first or the second arm trains, then the same command."""
    arguments = [*TINY, "methods=flow_matching+crossflow", "budget.samples=320"]
    arguments += ["training.checkpoint_seconds=0.05", f"training.precision={precision}"]

    def start(name: str) -> subprocess.Popen:
        places = [f"out={tmp_path / name / 'out'}", f"work={tmp_path / name / 'work'}"]
        line = [sys.executable, "-m", "benchmarks.run", *arguments, *places]
        with log.open("wb") as file:
            return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=file)

    log = tmp_path / "stderr"
    assert start("whole").wait(300) == 0, log.read_text()
    killed = start("killed")
    folder = tmp_path / "killed" / "work" / "depth_tabletop"
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"*-{victim}-*/checkpoints/last.safetensors")):
        assert killed.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(int.from_bytes(os.urandom(1), "little") / 1000)  # anywhere in the next steps
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it really was in the middle of that arm"
    assert not list(folder.glob(f"*-{victim}-*/weights.safetensors"))
    assert start("killed").wait(300) == 0, log.read_text()
    assert stable(tmp_path / "killed" / "out") == stable(tmp_path / "whole" / "out")
    for method in ("flow_matching", "crossflow"):
        pattern = f"work/*/*-{method}-*/weights.safetensors"
        one, other = (next((tmp_path / name).glob(pattern)) for name in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


def test_an_interruption_between_two_arms_leaves_the_same_records(places, tmp_path):
    """One record is missing, as after a kill while the last arm was scored."""
    out, work = tmp_path / "out", tmp_path / "work"
    shutil.copytree(places[0], out)
    shutil.copytree(places[1], work)
    records.record_path(out, "depth_tabletop", by_method(out)["crossflow"].run_id).unlink()
    assert call(f"out={out}", f"work={work}") == 0
    assert stable(out) == stable(places[0])


def test_damaged_data_are_put_aside_and_made_again_and_no_number_changes(places, tmp_path, capsys):
    """A wrong bit in a truth that is scored, in a store, in its statistics, in a clock."""
    out, work = tmp_path / "out", tmp_path / "work"
    shutil.copytree(places[0], out)
    shutil.copytree(places[1], work)
    whole = by_method(out)
    (sample,) = out.glob("samples/*/*-regression-*")
    sample.write_bytes(sample.read_bytes()[:-99])
    for method in ("oracle", "crossflow"):  # scored again, and trained again
        records.record_path(out, "depth_tabletop", whole[method].run_id).unlink()
    shutil.rmtree(work / "depth_tabletop" / whole["crossflow"].run_id / "checkpoints")
    patterns = "tabletop/v*/iid-*/depth*/*.npy stores/depth-train-*/target.npy "
    patterns += "stores/depth-validation-*/manifest.json depth_tabletop/*-crossflow-*/clock.json"
    damaged = [path for pattern in patterns.split() for path in work.glob(pattern)]
    assert len(damaged) >= 4
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[-9] ^= 1 << 6
        path.write_bytes(content)
    assert call(f"out={out}", f"work={work}") == 0
    error = capsys.readouterr().err
    for path in damaged:
        place = path if path.suffix == ".json" and "stores" not in str(path) else path.parent
        assert f"{place} is damaged (" in error
    assert error.count(", made again") == len({p.parent for p in damaged})
    assert "picture grid without regression: " in error
    again = by_method(out)
    assert {m: r.stable() for m, r in again.items()} == {m: r.stable() for m, r in whole.items()}


def test_a_record_of_other_rules_is_not_taken_for_finished(places, tmp_path, capsys, monkeypatch):
    from benchmarks.metrics import depth

    out, work = tmp_path / "out", tmp_path / "work"
    shutil.copytree(places[0], out)
    before = by_method(out)
    monkeypatch.setattr(depth, "PROTOCOL", depth.PROTOCOL + 1)
    assert call(f"out={out}", f"work={work}") == 2
    error = capsys.readouterr().err
    assert "protocols.depth: 1 / 2" in error
    assert "resume=false" in error
    assert by_method(out) == before


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        # Two null rows need two pictures in a batch; told before anything is scored.
        (["methods=crossflow", "training.batch=1", "sampling.guidance=2"], "training.batch"),
        # Regression gives the mean image of a caption: it is no arm of text to image.
        (["methods=regression"], "regression"),
    ],
)
def test_a_refusal_in_building_arms_leaves_no_record(tmp_path, capsys, fields, reason):
    arguments = ["task=t2i_tabletop", "task.train_limit=16", "task.limit=4", *fields]
    arguments += ["task.validation_limit=4", f"out={tmp_path / 'o'}", f"work={tmp_path / 'w'}"]
    assert call(*arguments, base=TINY[4:]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "o" / "records").exists()


def test_a_failed_row_starts_again_whatever_its_rules_were(record, written):
    one = record(status="failed")
    config, version = Config(out=str(written([one]))), {"version": 2}
    for score in (one.fair.score, one.fair.score | version):
        assert finished_rows(config, {one.method: one.run_id}, score) == {}
