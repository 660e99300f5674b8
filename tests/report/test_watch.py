"""`report watch`: what it makes of the files of a work folder, whole, torn, hostile or gone."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.report import command, watch
from benchmarks.report.watching import STALE_SECONDS, look, tail
from crossflow.errors import InputError

NOW = 1_800_000_000.0
REPOSITORY = Path(__file__).parents[2]


def write_match(work, states, lines=None, task="depth_tabletop", match="match-s0", **changes):
    """A match on disk. states: method -> state. lines: method -> lines of stats.jsonl."""
    folder = work / task
    status = {
        "schema": 1,
        "task": task,
        "match": match,
        "seed": 0,
        "budget_kind": "flops",
        "budget_limit": 2e14,
        "host": "box",
        "pid": 1,
        "started": NOW - 100,
        "beat": NOW - 1,
        "stage": "depth_tabletop crossflow: training",
        "share": 0.25,
        "arms": [
            {"method": method, "run_id": f"{match}-{number}", "state": state, "since": NOW - 50}
            for number, (method, state) in enumerate(states.items())
        ],
    } | changes
    (folder / match).mkdir(parents=True)
    (folder / match / "status.json").write_text(json.dumps(status))
    for number, method in enumerate(states):
        run = folder / f"{match}-{number}"
        run.mkdir()
        if lines and method in lines:
            (run / "stats.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines[method]))
    return folder


def line(steps, loss=0.5):
    """A step a second, 8 samples a step, 400 steps in the budget."""
    return {
        "steps": steps,
        "samples": 8 * steps,
        "device_seconds": float(steps),
        "flops": 5e11 * steps,
        "fraction": steps / 400,
        "loss": loss,
        "terms": {"flow": loss},
        "lr": 1e-3,
        "grad_norm": 1.0,
        "samples_per_second": 8.0,
    }


def shown(work, now=NOW, every=False):
    return "\n".join(watch.plain(look(work, now), work, every))


def drawn(work, now=NOW, width=80):
    """What rich prints on a terminal of that width, without colours."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(watch.screen(look(work, now), work))
    return console.file.getvalue()


def test_budget_speed_and_time_left_of_each_arm(tmp_path):
    lines = {
        "regression": [line(s) for s in range(10, 401, 10)],
        "crossflow": [line(90), line(100)],
    }
    write_match(tmp_path, {"regression": "trained", "crossflow": "training"}, lines)
    text = shown(tmp_path)
    assert "match-s0: budget 2e+14 flops an arm; training left 5:00" in text
    assert "now depth_tabletop crossflow: training 25% (process 1 on box)" in text
    regression, crossflow = (x for x in text.splitlines() if x.startswith(("  regr", "  cross")))
    assert "state trained, budget ██████████ 100 %, own loss 0.5" in regression
    assert "samples/s" not in regression
    assert "state training, budget ██░░░░░░░░  25 %, own loss 0.5, samples/s 8" in crossflow
    assert "left 5:00" in crossflow


def test_a_waiting_arm_has_no_time_yet_unless_seconds_are_the_budget(tmp_path):
    lines = {"regression": [line(100)]}
    arms = {"regression": "training", "crossflow": "waiting"}
    write_match(tmp_path / "a", arms, lines)
    assert "training left at least 5:00" in shown(tmp_path / "a")
    write_match(tmp_path / "b", arms, lines, budget_kind="device_seconds", budget_limit=400)
    assert "training left 11:40" in shown(tmp_path / "b")
    write_match(tmp_path / "c", arms)
    assert "training left not known yet" in shown(tmp_path / "c")


def test_a_budget_is_shown_with_all_its_digits(tmp_path):
    write_match(tmp_path, {"crossflow": "waiting"}, budget_kind="samples", budget_limit=1234567)
    assert "budget 1234567 samples an arm" in shown(tmp_path)


def test_losses_stand_with_their_arm_and_a_warning(tmp_path):
    lines = {"regression": [line(1, 0.25)], "crossflow": [line(1, 3.5)]}
    write_match(tmp_path, {"regression": "training", "crossflow": "training"}, lines)
    for text in (shown(tmp_path), drawn(tmp_path)):
        assert "losses of different arms cannot be compared" in " ".join(text.split())
        for method, loss in (("regression", "0.25"), ("crossflow", "3.5")):
            (row,) = [x for x in text.splitlines() if x.strip().startswith(method)]
            assert loss in row


@pytest.mark.parametrize("torn", ['{"steps": 30, "loss": 0.0', '{"steps": 30', "\0\0"])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    folder = write_match(tmp_path, {"crossflow": "training"}, {"crossflow": [line(20, 0.75)]})
    with (folder / "match-s0-0" / "stats.jsonl").open("a") as file:
        file.write(torn)
    assert "own loss 0.75" in shown(tmp_path)


@pytest.mark.parametrize("broken", ["no json", '{"steps": 1}', "[]", '{"loss": NaN}'])
def test_a_broken_whole_line_is_told(tmp_path, broken):
    folder = write_match(tmp_path, {"crossflow": "training"}, {"crossflow": [line(20)]})
    with (folder / "match-s0-0" / "stats.jsonl").open("a") as file:
        file.write(broken + "\n")
    text = shown(tmp_path)
    assert "stats.jsonl: holds a line that is none of a run's" in text
    assert "own loss 0.5" not in text


def test_only_the_end_of_a_long_file_is_read(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text(
        "garbage that nobody reads\n" + "".join(json.dumps(line(s)) + "\n" for s in range(1, 1001))
    )
    lines, _ = tail(path)
    assert [x["steps"] for x in lines] == list(range(981, 1001))


def test_a_killed_match_is_stale_and_an_interrupted_one_stopped(tmp_path):
    arms = {"regression": "done", "flow_matching": "training", "crossflow": "waiting"}
    write_match(tmp_path / "a", arms)
    assert "STALE" not in shown(tmp_path / "a", NOW + STALE_SECONDS - 2)
    text = shown(tmp_path / "a", NOW + STALE_SECONDS + 139)
    assert "STALE: no heartbeat for 3:20" in text
    assert text.count("state stale") == 2
    assert "regression: state done" in text
    assert "now " not in text
    write_match(tmp_path / "b", arms, ended=NOW - 5, error="interrupted")
    text = shown(tmp_path / "b", NOW + 1e6)
    assert "STOPPED; the same command continues" in text
    assert "interrupted" in text
    assert text.count("state stopped") == 2


def test_a_failed_arm_keeps_its_reason_and_its_last_numbers(tmp_path):
    folder = write_match(
        tmp_path,
        {},
        arms=[
            {"method": "x", "run_id": "r", "state": "failed", "since": NOW - 9, "error": "loss inf"}
        ],
    )
    (folder / "r").mkdir()
    (folder / "r" / "stats-failed.jsonl").write_text(json.dumps(line(200)) + "\n")
    text = shown(tmp_path)
    assert "x: state failed, budget █████░░░░░  50 %" in text
    assert "x: loss inf" in text


HOSTILE = "[bold red]x[/] [link=http://a]y[/link] \x1b[2J\n\u202e"


@pytest.mark.parametrize("show", [shown, lambda work: drawn(work, width=300)])
def test_hostile_names_are_text(tmp_path, show):
    folder = write_match(
        tmp_path,
        {HOSTILE: "training"},
        {HOSTILE: [line(1)]},
        task="[red]t[red]",
        host=HOSTILE,
        stage=HOSTILE,
        note=HOSTILE,
        error=HOSTILE,
    )
    path = folder / "match-s0" / "status.json"
    path.write_text(path.read_text().replace('"match": "', '"match": "[b]m[/b] '))
    text = show(tmp_path)
    assert "[b]m[/b] match-s0: budget" in text
    assert text.count("[bold red]x[/] [link=http://a]y[/link] \ufffd[2J\ufffd\ufffd") == 5
    assert "\x1b[2J" not in text
    assert "\u202e" not in text


def test_a_run_id_cannot_lead_out_of_the_folder(tmp_path):
    arm = {"method": "x", "run_id": "../../secret", "state": "training", "since": NOW}
    write_match(tmp_path / "work", {}, arms=[arm])
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "stats.jsonl").write_text(json.dumps(line(200)) + "\n")
    assert "own loss" not in shown(tmp_path / "work").split("\n", 1)[1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 2}'])
def test_a_status_that_cannot_be_read_is_named_and_the_others_shown(tmp_path, text):
    write_match(tmp_path, {"crossflow": "training"}, match="good")
    folder = write_match(tmp_path, {"crossflow": "training"}, task="sr_tabletop", match="bad")
    (folder / "bad" / "status.json").write_text(text)
    said = shown(tmp_path)
    assert "good: budget" in said
    assert f"{folder / 'bad' / 'status.json'}: " in said


def test_running_matches_come_first_and_old_ones_are_counted(tmp_path):
    for number in range(9):
        ended = {"ended": NOW} if number else {}
        started = {"started": NOW - 1000 + number}
        write_match(tmp_path, {"crossflow": "done"}, match=f"m{number}", **ended, **started)
    names = [x[:2] for x in shown(tmp_path).splitlines() if ": budget" in x]
    assert names == ["m0", "m8", "m7", "m6", "m5", "m4"]
    assert "3 more that ended: --all shows them" in shown(tmp_path)
    assert shown(tmp_path, every=True).count(": budget") == 9


def test_an_empty_folder_is_said_and_a_missing_one_refused(tmp_path, capsys):
    assert command.main(["watch", "--once", "--work", str(tmp_path)]) == 0
    assert "no match in" in capsys.readouterr().out
    (tmp_path / "depth_tabletop" / "old-match").mkdir(parents=True)
    (tmp_path / "depth_tabletop" / "old-match" / "lock").touch()
    assert command.main(["watch", "--once", "--work", str(tmp_path)]) == 0
    assert "1 without status.json" in capsys.readouterr().out
    assert command.main(["watch", "--once", "--work", str(tmp_path / "none")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no such folder" in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--interval", "0"], "--interval 0: must be a positive number"),
        (["--interval", "nan"], "must be a positive number"),
        (["--interval", "soon"], "--interval"),
        (["--interval", "1e300"], "--interval 1e+300: must be a positive number of seconds, at mo"),
        (["--interval", "inf"], "must be a positive number"),
        (["--out", "x"], "--out: watch reads run folders"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, arguments, said):
    assert command.main(["watch", "--once", "--work", str(tmp_path), *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_an_interrupt_ends_it_quietly(tmp_path):
    """A real process without a terminal: plain lines until Ctrl-C, no torch, status 0."""
    write_match(tmp_path, {"crossflow": "training"}, {"crossflow": [line(1)]})
    line_ = [sys.executable, "-X", "importtime", "-m", "benchmarks.report", "watch"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [*line_, "--work", str(tmp_path), "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        seen = ""
        while seen.count("match-s0: budget") < 2:
            seen += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\x1b" not in seen + rest
    imported = [x for x in error.splitlines() if x.startswith("import time:")]
    assert len(imported) == len(error.splitlines()), "something beside the imports was said"
    assert not [x for x in imported if x.split("|")[-1].strip() in ("torch", "rich")]


def test_a_terminal_gets_a_table_that_fits(tmp_path, monkeypatch):
    arms = {"flow_matching": "training", "crossflow": "waiting"}
    write_match(tmp_path, arms, {"flow_matching": [line(10, 12.3456)]})
    text = drawn(tmp_path)
    (row,) = [x for x in text.splitlines() if x.startswith("flow_matching")]
    for part in ("training", "░░░░░░░░░░   2 %", "12.35", "6:30", "ago"):
        assert part in row
    assert max(map(len, text.splitlines())) <= 80


def test_the_live_table_is_renewed_until_an_interrupt(tmp_path, monkeypatch, capsys):
    looks = []

    def look_twice(work, now):
        looks.append(now)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return look(work, NOW)

    write_match(tmp_path, {"crossflow": "training"})
    monkeypatch.setattr(watch, "look", look_twice)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert command.main(["watch", "--work", str(tmp_path), "--interval", "0.01"]) == 0
    assert len(looks) == 3
    assert "match-s0: budget" in capsys.readouterr().out


def test_the_folder_goes_while_it_is_watched(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        look(tmp_path / "gone", time.time())
