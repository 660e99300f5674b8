"""`report check` through the command line: what fails, passes, is refused and is accepted."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records import record as records
from benchmarks.report import command, references

REPOSITORY = Path(__file__).parents[2]
CPU = {"name": "ci-1", "utilisation_reason": "no published peak for device type cpu"}


@pytest.fixture
def place(tmp_path):
    """(out, file of references), neither there yet."""
    return tmp_path / "out", tmp_path / "expected.csv"


def call(place, *arguments):
    out, file = place
    return command.main(["check", "--out", str(out), "--against", str(file), *arguments])


def keep(place, several):
    """Only these records under `out`."""
    for path in (place[0] / "records").glob("*/*.json"):
        path.unlink()
    for one in several:
        records.write(one, place[0])


def accept(place, several, capsys):
    keep(place, several)
    assert call(place, "--accept") == 0
    capsys.readouterr()


def lines(capsys):
    """Lines by verdict, and the last one."""
    *checks, last = capsys.readouterr().out.splitlines()
    return {line.split()[0].rstrip(","): line for line in checks}, last


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def tiny(record, value, seed=0, threads=2, **changes):
    """A record of a tiny run on a CPU."""
    budget = records.Budget(
        kind="flops", limit=2e13, steps=1, samples=8, train_flops=5e12, convention="2 a MAC"
    )
    volatile = records.Volatile(
        created="2026-01-01T00:00:00Z",
        device="Some CPU",
        devices=1,
        threads=threads,
        host=CPU,
        versions={"torch": "2.15.0"},
    )
    return record(value=value, seed=seed, budget=budget, volatile=volatile, **changes)


def five(record, shift=0.0, **changes):
    return [record(seed=s, value=0.5 + 0.01 * s + shift, **changes) for s in range(5)]


def test_a_worsened_record_fails_and_is_told(record, place, capsys):
    accept(place, five(record), capsys)
    keep(place, five(record, shift=0.3))
    assert call(place) == 1
    found, last = lines(capsys)
    told = found["regressed"]
    for part in ("depth_tabletop crossflow absrel_object", "0.82 against 0.52", "worse by 0.3"):
        assert part in told
    # t(0.999, 4) sd sqrt(2 / 5), sd of 0, 1, 2, 3, 4 hundredths.
    assert "tolerance 0.0717" in told
    assert "lower is better" in told
    assert "1 regressed" in last


def test_within_the_tolerance_is_ok(record, place, capsys):
    accept(place, five(record), capsys)
    keep(place, five(record, shift=0.07))
    assert call(place) == 0
    assert set(lines(capsys)[0]) == {"ok"}


def test_the_direction_of_a_metric_counts(record, place, capsys):
    values = {"absrel_object": 0.5, "delta1": 0.5}
    accept(place, [record(value=values)], capsys)
    keep(place, [record(value={"absrel_object": 0.9, "delta1": 0.9})])
    assert call(place) == 1
    found, _ = lines(capsys)
    assert "absrel_object" in found["regressed"]
    assert "delta1" in found["improved"]
    assert "better by 0.4" in found["improved"]
    keep(place, [record(value={"absrel_object": 0.1, "delta1": 0.1})])
    assert call(place) == 1
    found, _ = lines(capsys)
    assert "delta1" in found["regressed"]
    assert "absrel_object" in found["improved"]


def test_an_improved_record_says_so_and_is_accepted(record, place, capsys):
    accept(place, five(record), capsys)
    before = rows(place[1])[0]
    volatile = records.Volatile(
        created="2026-02-01T00:00:00Z", commit="abc", command="python -m x", device="GPU"
    )
    keep(place, five(record, shift=-0.3, volatile=volatile))
    assert call(place) == 0
    assert "improved" in lines(capsys)[0]
    assert rows(place[1])[0] == before, "nothing is accepted unasked"
    assert call(place, "--accept") == 0
    assert "accepted: 1 scores" in capsys.readouterr().out
    (row,) = rows(place[1])
    assert row["values"].split(";")[0] == repr(0.5 - 0.3)
    assert row["seeds"] == "0;1;2;3;4"
    assert row["previous"].startswith(before["values"])
    assert before["accepted"] in row["previous"]
    assert row["commits"] == "abc"
    assert json.loads(row["commands"]) == ["python -m x"]
    assert row["created"] == "2026-02-01T00:00:00Z"
    assert row["run_ids"].count("depth_tabletop-crossflow-s") == 5
    assert row["accepted_by"]
    assert "report check" in row["accepted_with"]
    assert "--accept" in row["accepted_with"]
    assert call(place) == 0
    assert set(lines(capsys)[0]) == {"ok"}


def test_accepting_twice_changes_no_byte(record, place, capsys):
    several = [*five(record), record("floor", value=0.9), record(task="sr_tabletop")]
    accept(place, several, capsys)
    first = place[1].read_bytes()
    assert call(place, "--accept") == 0
    assert "accepted" not in capsys.readouterr().out
    assert place[1].read_bytes() == first
    place[1].unlink()
    accept(place, several[::-1], capsys)
    assert place[1].read_bytes() == first
    assert not list(place[1].parent.glob(".expected*"))


def test_more_seeds_replace_a_row_and_fewer_are_refused(record, place, capsys):
    accept(place, five(record)[:3], capsys)
    keep(place, five(record))
    assert call(place, "--accept") == 0
    assert rows(place[1])[0]["seeds"] == "0;1;2;3;4"
    before = place[1].read_bytes()
    keep(place, five(record, shift=-0.4)[:2])
    assert call(place, "--accept") == 2
    assert "2 seeds here, 5 in the reference" in capsys.readouterr().err
    assert place[1].read_bytes() == before


def test_a_floor_edited_by_hand_counts_and_stays(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    place[1].write_text(place[1].read_text().replace(",1%,", ",50%,"))
    keep(place, [record(value=1.7)])
    assert call(place) == 0, "five times the floor is 1.25"
    keep(place, [record(value=1.8)])
    assert call(place, "--accept") == 0
    assert rows(place[1])[0]["floor"] == "50%"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": {"version": 2}}, "score.version: 2 / 1"),
        ({"score": {"protocols": {"depth": 7}}}, "score.protocols.depth: 7 / 1"),
        ({"fair": {"batch": 128}}, "fair.batch: 128 / 64"),
        ({"fair": {"rules": {"lr": 0.1}}}, "fair.rules.lr: 0.1 / absent"),
        ({"fair": {"rules": {"clip": None}}}, "fair.rules.clip: None / absent"),
    ],
)
def test_a_changed_protocol_is_refused_with_the_field(record, place, capsys, changes, said):
    accept(place, [record(value=0.5)], capsys)
    keep(place, [record(value=0.5, **changes)])
    assert call(place) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "depth_tabletop crossflow" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "score_key" not in printed.err
    assert printed.out.startswith("refused ")
    assert call(place, "--accept") == 0
    assert len(rows(place[1])) == 2, "the old row stays"
    assert call(place) == 0


def test_of_two_protocols_the_nearer_is_named(record, place, capsys):
    far = record(value=0.5, fair={"batch": 128, "model": "B"}, run_id="far")
    accept(place, [record(value=0.5), far], capsys)
    keep(place, [record(value=0.5, fair={"batch": 32})])
    assert call(place) == 2
    assert "fair.batch: 32 / 64" in capsys.readouterr().err


def test_a_floor_of_other_training_items_is_refused(record, place, capsys):
    task = {"name": "depth_tabletop", "train_limit": 100}
    accept(place, [record("floor", value=0.9, config={"task": task})], capsys)
    keep(place, [record("floor", value=0.7, config={"task": {**task, "train_limit": 10}})])
    assert call(place) == 2
    assert "frame.train_limit: 10 / 100" in capsys.readouterr().err


def test_a_missing_reference_fails(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    keep(place, [record(value={"absrel_object": 0.5, "delta1": 0.7}), record("regression")])
    assert call(place) == 1
    printed = capsys.readouterr().out
    assert re.search(r"missing +depth_tabletop crossflow delta1", printed)
    assert re.search(r"missing +depth_tabletop regression absrel_object", printed)
    assert "2 missing, 1 ok" in printed


def test_a_score_that_is_gone_fails(record, place, capsys):
    accept(place, [record(value={"absrel_object": 0.5, "delta1": 0.7})], capsys)
    keep(place, [record(value=0.5, unavailable={"delta1": "no Java"})])
    assert call(place) == 1
    assert "no Java" in lines(capsys)[0]["absent"]
    assert call(place, "--accept") == 1, "what is not there cannot be accepted"


def test_a_failed_run_fails(record, place, capsys):
    accept(place, five(record), capsys)
    keep(place, [*five(record)[:4], record(seed=4, status="failed")])
    assert call(place, "--accept") == 1
    assert "crossflow-s4" in lines(capsys)[0]["failed"]


def test_a_record_with_nan_is_refused(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    (path,) = place[0].rglob("*.json")
    path.write_text(path.read_text().replace('"value": 0.5', '"value": NaN'))
    assert call(place) == 2
    printed = capsys.readouterr()
    assert str(path) in printed.err
    assert printed.out == ""


def test_an_arm_that_is_gone_from_its_match_fails(record, place, capsys):
    both = [*five(record), *five(record, shift=0.1, method="regression")]
    accept(place, both, capsys)
    before = place[1].read_bytes()
    keep(place, five(record))
    for arguments in ((), ("--accept",)):
        assert call(place, *arguments) == 1
        found, last = lines(capsys)
        assert "depth_tabletop regression run" in found["absent"]
        assert f"no record of it beside {both[0].run_id}" in found["absent"]
        assert "1 absent, 1 ok" in last
        assert "without a record here" not in last
    assert place[1].read_bytes() == before
    keep(place, [*five(record), record("regression", 0, status="failed")])
    assert call(place) == 1
    assert set(lines(capsys)[0]) == {"failed", "ok"}, "a record of a failure is a record"


def test_why_an_arm_no_longer_applies_is_told(record, place, capsys):
    accept(place, [record(value=0.5), record("regression")], capsys)
    one = record(value=0.5)
    proof = {"absent": {"regression": "the source is text"}}
    keep(place, [one.model_copy(update={"fair": one.fair.model_copy(update={"proof": proof})})])
    assert call(place) == 1
    assert "the source is text" in lines(capsys)[0]["absent"]


def test_a_frame_that_is_gone_from_its_match_fails(record, place, capsys):
    task = {"name": "depth_tabletop", "train_limit": 100}
    other = {"task": {**task, "train_limit": 10}}
    frames = [record("floor", value=0.9, config={"task": task}), record("oracle", value=0.1)]
    accept(place, [record(value=0.5, config={"task": task}), *frames], capsys)
    keep(place, [record(value=0.5, config={"task": task}), frames[1]])
    assert call(place) == 1
    assert "depth_tabletop floor run" in lines(capsys)[0]["absent"]
    keep(place, [record(value=0.5, config=other), frames[1]])
    assert call(place) == 0, "its match would have another floor"
    assert "without a record here: depth_tabletop floor" in lines(capsys)[1]


@pytest.mark.parametrize(
    ("kept", "gone"),
    [
        ({"config": {"methods": ["crossflow"]}}, {"method": "regression"}),
        ({}, {"method": "regression", "fair": {"batch": 1}}),
        ({}, {"method": "regression", "task": "sr_tabletop"}),
        ({}, {"method": "mine", "kind": "evaluation"}),
    ],
    ids=["not asked for", "another fair_key", "another task", "no arm"],
)
def test_references_that_no_match_here_should_have_are_only_named(
    record, place, capsys, kept, gone
):
    accept(place, [record(value=0.5), record(**gone)], capsys)
    keep(place, [record(value=0.5, **kept)])
    assert call(place) == 0
    name = f"{gone.get('task', 'depth_tabletop')} {gone['method']}"
    assert f"without a record here: {name}" in lines(capsys)[1]


def test_exact_rows_fail_in_both_directions(record, place, capsys):
    accept(place, [record("floor", value=0.9)], capsys)
    for value in (0.9 + 1e-4, 0.9 - 1e-4):
        keep(place, [record("floor", value=value)])
        assert call(place) == 1
        assert "exact" in lines(capsys)[0]["changed"]
    keep(place, [record("floor", value=0.9 + 1e-9, seed=7)])
    assert call(place) == 0, "no seed moves the floor"


def test_a_scored_folder_is_exact_only_for_its_own_predictions(record, place, capsys):
    def evaluation(value, digest):
        plain = record(method="mine", kind="evaluation", value=value)
        return plain.model_copy(
            update={"fair": plain.fair.model_copy(update={"proof": {"predictions": digest}})}
        )

    accept(place, [evaluation(0.5, "a" * 12)], capsys)
    keep(place, [evaluation(0.501, "a" * 12)])
    assert call(place) == 1
    assert "changed" in lines(capsys)[0]
    keep(place, [evaluation(0.501, "b" * 12)])
    assert call(place) == 0
    assert "other predictions" in lines(capsys)[0]["ok"]
    keep(place, [evaluation(0.9, "b" * 12)])
    assert call(place) == 1
    assert "regressed" in lines(capsys)[0]


def test_tiny_runs_repeat_bit_near_on_one_machine_only(record, place, capsys):
    accept(place, [tiny(record, 0.5)], capsys)
    assert rows(place[1])[0]["class"] == "seeded"
    keep(place, [tiny(record, 0.5001)])
    assert call(place) == 1
    assert "same machine and seed" in lines(capsys)[0]["regressed"]
    keep(place, [tiny(record, 0.4999)])
    assert call(place) == 0
    assert "improved" in lines(capsys)[0]
    for other in (tiny(record, 0.5001, threads=4), tiny(record, 0.5001, seed=1)):
        keep(place, [other])
        assert call(place) == 0
        assert "another machine or seed" in lines(capsys)[0]["ok"]


def test_of_several_seeds_the_worst_decides(record, place, capsys):
    accept(place, [tiny(record, 0.5, seed=s) for s in range(3)], capsys)
    keep(place, [tiny(record, value, seed=s) for s, value in enumerate((0.49, 0.51, 0.5))])
    assert call(place) == 1
    assert "0.51 against 0.5" in lines(capsys)[0]["regressed"]


def test_what_a_cpu_says_of_its_utilisation():
    """The class `seeded` hangs on this sentence."""
    import torch

    from benchmarks.report.check import ON_A_CPU
    from crossflow.clock import utilisation

    said = utilisation(1.0, 1.0, torch.device("cpu"), "fp32")["reason"]
    assert str(said).endswith(ON_A_CPU)


def test_other_items_behind_a_score_are_no_ok(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    score = record(value=0.5).scores["absrel_object"]
    keep(place, [record(scores={"absrel_object": replace(score, n=255)})])
    assert call(place) == 1
    assert "over 255 items, the reference over 256" in lines(capsys)[0]["changed"]
    keep(place, [record(scores={"absrel_object": replace(score, better="higher")})])
    assert call(place) == 1
    assert "in the reference lower is better" in lines(capsys)[0]["changed"]


def test_different_predictions_of_one_name_are_no_reference(record, place, capsys):
    """Their mean would be a reference that neither of them has."""
    both = []
    for number, value in enumerate((0.1, 0.9)):
        one = record(method="mine", kind="evaluation", value=value, run_id=f"r{number}")
        fair = one.fair.model_copy(update={"proof": {"predictions": f"{number}" * 12}})
        both.append(one.model_copy(update={"fair": fair}))
    keep(place, both)
    assert call(place, "--accept") == 2
    said = capsys.readouterr().err
    assert f"predictions: {'0' * 12} / {'1' * 12}" in said


def test_two_configurations_of_one_protocol_are_no_reference(record, place, capsys):
    one, other = record(value=0.5), record(value=0.6, config={"sampling": {"batch": 7}})
    keep(place, [one, other])
    assert call(place, "--accept") == 2
    assert "sampling.batch" in capsys.readouterr().err
    assert not place[1].exists()


def test_no_file_of_references(record, place, capsys, monkeypatch, tmp_path):
    keep(place, [record()])
    assert call(place) == 2
    assert "expected.csv" in capsys.readouterr().err
    monkeypatch.setattr(references, "REPOSITORY", tmp_path / "site-packages")
    assert command.main(["check", "--out", str(place[0])]) == 2
    assert "--against FILE is required" in capsys.readouterr().err


def test_what_cannot_be_written(record, place, capsys):
    keep(place, [record(value=0.5)])
    place[0].joinpath("file").write_text("")
    below = place[0] / "file" / "x"
    assert command.main(["check", "--out", str(place[0]), "--against", str(below)]) == 2
    assert call((place[0], below), "--accept") == 2
    assert "cannot write" in capsys.readouterr().err
    accept(place, [record(value=0.5)], capsys)
    assert call(place, "--junit", str(below)) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_order_of_records_moves_no_line(record, place, capsys):
    several = [record(value=0.4), record("regression"), record(seed=1), record("floor")]
    printed = set()
    for order in (several, several[::-1]):
        keep(place, order)
        call(place, "--accept")
        place[1].unlink()
        printed.add(capsys.readouterr().out)
    assert len(printed) == 1


def test_as_a_program(record, place):
    """The one that scripts call: status 0, 1 and 2."""

    def program(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "benchmarks.report", "check", *arguments],
            cwd=place[0].parent,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )

    keep(place, five(record))
    both = ["--out", "out", "--against", "expected.csv"]
    assert program(*both, "--accept").returncode == 0
    done = program(*both)
    assert (done.returncode, done.stderr) == (0, "")
    keep(place, five(record, shift=1.0))
    assert program(*both).returncode == 1
    done = program("--out", "nowhere", "--against", "expected.csv")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_committed_records_agree_with_the_committed_references(capsys):
    """A new record in results/public needs its references: report check --accept."""
    assert command.main(["check", "--out", str(REPOSITORY / "results" / "public")]) == 0
    assert set(lines(capsys)[0]) == {"ok"}
