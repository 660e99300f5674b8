"""`report check`: what fails, passes, is refused and is accepted."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.records import record as records
from benchmarks.report import command, references

REPOSITORY = Path(__file__).parents[2]
CPU = {"name": "ci-1", "utilisation_reason": "no published peak for device type cpu"}
TASK = {"name": "depth_tabletop", "train_limit": 100}


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


def outcome(place, several, capsys, status=0):
    """Lines of a check of these records, which must end so."""
    keep(place, several)
    assert call(place) == status
    return lines(capsys)[0]


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def tiny(record, value, seed=0, threads=2):
    """A record of a tiny run on a CPU."""
    budget = record().budget.model_copy(update={"train_flops": 5e12})
    volatile = records.Volatile(
        created="2026-01-01T00:00:00Z",
        device="Some CPU",
        devices=1,
        threads=threads,
        host=CPU,
        versions={"torch": "2.15.0"},
    )
    return record(value=value, seed=seed, budget=budget, volatile=volatile)


def five(record, shift=0.0, **changes):
    return [record(seed=s, value=0.5 + 0.01 * s + shift, **changes) for s in range(5)]


def proven(one, **proof):
    return one.model_copy(update={"fair": one.fair.model_copy(update={"proof": proof})})


def scored(record, value, predictions, **changes):
    """An evaluation of predictions with this digest."""
    one = record(method="mine", kind="evaluation", value=value, **changes)
    return proven(one, predictions=predictions * 12)


def test_a_mean_over_seeds_has_a_tolerance(record, place, capsys):
    accept(place, five(record), capsys)
    keep(place, five(record, shift=0.3))
    assert call(place) == 1
    found, last = lines(capsys)
    # t(0.999, 4) sd sqrt(2 / 5), sd of 0, 1, 2, 3, 4 hundredths.
    numbers = "0.82 against 0.52, worse by 0.3, tolerance 0.0717, lower is better"
    assert "depth_tabletop crossflow absrel_object" in found["regressed"]
    assert numbers in found["regressed"]
    assert "1 regressed" in last
    assert set(outcome(place, five(record, shift=0.07), capsys)) == {"ok"}


def test_the_direction_of_a_metric_counts(record, place, capsys):
    accept(place, [record(value={"absrel_object": 0.5, "delta1": 0.5})], capsys)
    names = "absrel_object", "delta1"
    for value, (worse, better) in ((0.9, names), (0.1, names[::-1])):
        both = record(value={"absrel_object": value, "delta1": value})
        found = outcome(place, [both], capsys, status=1)
        assert worse in found["regressed"]
        assert better in found["improved"]
        assert "better by 0.4" in found["improved"]


def test_an_improved_record_says_so_and_is_accepted(record, place, capsys):
    accept(place, five(record), capsys)
    before = rows(place[1])[0]
    volatile = records.Volatile(
        created="2026-02-01T00:00:00Z", commit="abc", command="python -m x", device="GPU"
    )
    assert "improved" in outcome(place, five(record, shift=-0.3, volatile=volatile), capsys)
    assert rows(place[1])[0] == before, "nothing is accepted unasked"
    assert call(place, "--accept") == 0
    assert "accepted: 1 scores" in capsys.readouterr().out
    (row,) = rows(place[1])
    assert row["values"].split(";")[0] == repr(0.5 - 0.3)
    assert row["previous"].startswith(before["values"])
    assert before["accepted"] in row["previous"]
    same = {"seeds": "0;1;2;3;4", "commits": "abc", "commands": '["python -m x"]'}
    assert row == row | same and row["accepted_by"]
    assert re.search("report check .*--accept", row["accepted_with"])
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


def test_more_seeds_replace_a_row_and_fewer_are_refused(record, place, capsys):
    accept(place, five(record)[:3], capsys)
    accept(place, five(record), capsys)
    assert rows(place[1])[0]["seeds"] == "0;1;2;3;4"
    before = place[1].read_bytes()
    keep(place, five(record, shift=-0.4)[:2])
    assert call(place, "--accept") == 2
    assert "2 seeds here, 5 in the reference" in capsys.readouterr().err
    assert place[1].read_bytes() == before


def test_a_floor_edited_by_hand_counts_and_stays(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    place[1].write_text(place[1].read_text().replace(",1%,", ",50%,"))
    assert "ok" in outcome(place, [record(value=1.7)], capsys), "five times the floor is 1.25"
    accept(place, [record(value=1.8)], capsys)
    assert rows(place[1])[0]["floor"] == "50%"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"score": {"version": 2}}, "score.version: 2 / 1"),
        ({"score": {"protocols": {"depth": 7}}}, "score.protocols.depth: 7 / 1"),
        ({"fair": {"batch": 128}}, "fair.batch: 128 / 64"),
        ({"fair": {"rules": {"clip": None}}}, "fair.rules.clip: None / absent"),
    ],
)
def test_a_changed_protocol_is_refused_with_the_field(record, place, capsys, changes, field):
    accept(place, [record(value=0.5)], capsys)
    keep(place, [record(value=0.5, **changes)])
    assert call(place) == 2
    printed = capsys.readouterr()
    assert field in printed.err
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
    accept(place, [record("floor", value=0.9, config={"task": TASK})], capsys)
    keep(place, [record("floor", value=0.7, config={"task": {**TASK, "train_limit": 10}})])
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


def test_what_is_gone_or_failed_cannot_be_accepted(record, place, capsys):
    accept(place, [record(value={"absrel_object": 0.5, "delta1": 0.7})], capsys)
    keep(place, [record(value=0.5, unavailable={"delta1": "no Java"})])
    assert call(place, "--accept") == 1
    assert "no Java" in lines(capsys)[0]["absent"]
    keep(place, [*five(record)[:4], record(seed=4, status="failed")])
    assert call(place, "--accept") == 1
    assert "crossflow-s4" in lines(capsys)[0]["failed"]


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
    assert place[1].read_bytes() == before
    failed = [*five(record), record("regression", 0, status="failed")]
    found = outcome(place, failed, capsys, status=1)
    assert set(found) == {"failed", "ok"}, "a record of a failure is a record"
    reason = proven(record(value=0.5), absent={"regression": "the source is text"})
    assert "the source is text" in outcome(place, [reason], capsys, status=1)["absent"]


def test_a_bound_that_is_gone_from_its_match_fails(record, place, capsys):
    other = {"task": {**TASK, "train_limit": 10}}
    bounds = [record("floor", value=0.9, config={"task": TASK}), record("oracle", value=0.1)]
    accept(place, [record(value=0.5, config={"task": TASK}), *bounds], capsys)
    kept = [record(value=0.5, config={"task": TASK}), bounds[1]]
    assert "depth_tabletop floor run" in outcome(place, kept, capsys, status=1)["absent"]
    keep(place, [record(value=0.5, config=other), bounds[1]])
    assert call(place) == 0, "its match would have another floor"


@pytest.mark.parametrize(
    ("kept", "gone"),
    [
        ({"config": {"methods": ["crossflow"]}}, {"method": "regression"}),  # not asked for
        ({}, {"method": "regression", "fair": {"batch": 1}}),
        ({}, {"method": "regression", "task": "sr_tabletop"}),
        ({}, {"method": "mine", "kind": "evaluation"}),
    ],
)
def test_references_that_no_match_here_should_have_are_not_missed(
    record, place, capsys, kept, gone
):
    accept(place, [record(value=0.5), record(**gone)], capsys)
    assert set(outcome(place, [record(value=0.5, **kept)], capsys)) == {"ok"}


def test_exact_rows_fail_in_both_directions(record, place, capsys):
    accept(place, [record("floor", value=0.9)], capsys)
    for value in (0.9 + 1e-4, 0.9 - 1e-4):
        found = outcome(place, [record("floor", value=value)], capsys, status=1)
        assert "exact" in found["changed"]
    near = record("floor", value=0.9 + 1e-9, seed=7)
    assert "ok" in outcome(place, [near], capsys), "no seed moves the floor"


def test_a_scored_folder_is_exact_only_for_its_own_predictions(record, place, capsys):
    accept(place, [scored(record, 0.5, "a")], capsys)
    assert "changed" in outcome(place, [scored(record, 0.501, "a")], capsys, status=1)
    found = outcome(place, [scored(record, 0.501, "b")], capsys)
    assert "other predictions" in found["ok"]
    assert "regressed" in outcome(place, [scored(record, 0.9, "b")], capsys, status=1)


def test_tiny_runs_repeat_bit_near_on_one_machine_only(record, place, capsys):
    accept(place, [tiny(record, 0.5)], capsys)
    assert rows(place[1])[0]["class"] == "seeded"
    found = outcome(place, [tiny(record, 0.5001)], capsys, status=1)
    assert "same machine and seed" in found["regressed"]
    assert "improved" in outcome(place, [tiny(record, 0.4999)], capsys)
    for other in (tiny(record, 0.5001, threads=4), tiny(record, 0.5001, seed=1)):
        assert "another machine or seed" in outcome(place, [other], capsys)["ok"]


def test_of_several_seeds_the_worst_decides(record, place, capsys):
    accept(place, [tiny(record, 0.5, seed=s) for s in range(3)], capsys)
    mixed = [tiny(record, value, seed=s) for s, value in enumerate((0.49, 0.51, 0.5))]
    assert "0.51 against 0.5" in outcome(place, mixed, capsys, status=1)["regressed"]


def test_other_items_behind_a_score_are_no_ok(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    score = record(value=0.5).scores["absrel_object"]
    fewer = record(scores={"absrel_object": replace(score, n=255)})
    found = outcome(place, [fewer], capsys, status=1)
    assert "255 items, lower is better; the reference: 256 items, lower" in found["changed"]
    other = record(scores={"absrel_object": replace(score, better="higher")})
    found = outcome(place, [other], capsys, status=1)
    assert "higher is better; the reference: 256 items, lower" in found["changed"]
    keep(place, [fewer, record(value=0.5, seed=1)])
    assert call(place) == 2
    assert "absrel_object: its runs score different items" in capsys.readouterr().err


def test_two_things_under_one_name_are_no_reference(record, place, capsys):
    """Their mean would be a reference that neither of them has."""
    two = [scored(record, 0.1, "0", run_id="r0"), scored(record, 0.9, "1", run_id="r1")]
    other = record(value=0.6, config={"sampling": {"batch": 7}})
    for both in (two, [record(value=0.5), other]):
        keep(place, both)
        assert call(place, "--accept") == 2
        printed = capsys.readouterr().err
        assert "ran in two configurations" in printed
        assert all(one.run_id in printed for one in both)
        assert not place[1].exists()


def test_no_file_of_references(record, place, capsys, monkeypatch, tmp_path):
    keep(place, [record()])
    assert call(place) == 2
    assert "expected.csv" in capsys.readouterr().err
    monkeypatch.setattr(references, "REPOSITORY", tmp_path / "site-packages")
    assert command.main(["check", "--out", str(place[0])]) == 2
    assert "--against" in capsys.readouterr().err


def test_what_cannot_be_written(record, place, capsys):
    accept(place, [record(value=0.5)], capsys)
    place[0].joinpath("file").write_text("")
    below = place[0] / "file" / "x"
    for of, arguments in (((place[0], below), ["--accept"]), (place, ["--junit", str(below)])):
        assert call(of, *arguments) == 2
        assert "cannot write" in capsys.readouterr().err


def test_the_committed_records_agree_with_the_committed_references(capsys):
    """A new record in results/public needs its references: report check --accept."""
    assert command.main(["check", "--out", str(REPOSITORY / "results" / "public")]) == 0
    assert set(lines(capsys)[0]) == {"ok"}


def test_machines_are_told_through_the_command_line(record, place, capsys):
    report = place[0] / "new" / "junit.xml"
    lost = record("regression")
    accept(place, [record(value=0.5), lost], capsys)
    keep(place, [record(value=0.9)])
    assert call(place, "--junit", str(report), "--github") == 1
    worse, gone = (x for x in capsys.readouterr().out.splitlines() if x.startswith("::"))
    assert worse.startswith("::error title=regressed%3A depth_tabletop crossflow")
    assert gone.startswith("::error title=absent%3A depth_tabletop regression run::")
    *_, case = ET.fromstring(report.read_bytes()).iter("testcase")
    assert case.get("classname") == f"depth_tabletop.regression.{lost.fair_key}"
    assert case.find("failure").get("type") == "absent"
    # A refusal ends with status 2, but the report of the test runner is there.
    keep(place, [record(value=0.9, fair={"batch": 1})])
    assert call(place, "--junit", str(report)) == 2
    assert ET.fromstring(report.read_bytes()).get("errors") == "1"
