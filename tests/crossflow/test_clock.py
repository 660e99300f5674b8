"""Ledgers charge each moment once and survive; throughput is judged by windows."""

import json
from contextlib import suppress
from dataclasses import asdict

import pytest

from crossflow.clock import LEDGERS, Clock, Throughput


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_time_goes_to_the_innermost_ledger_and_is_charged_once(tmp_path):
    hands = Hands()
    clock = Clock(tmp_path / "clock.json", now=hands)
    hands.time += 50  # no ledger is open: another arm's turn
    with clock("other"):
        hands.time += 1
        with clock("train"):
            hands.time += 10
            with clock("checkpoint"):
                hands.time += 3
            hands.time += 20
            assert clock.seconds("train") == 30
        hands.time += 2
    hands.time += 50
    charged = {name: seconds for name, seconds in clock.state().items() if seconds}
    assert charged == {"other": 3, "train": 30, "checkpoint": 3}
    assert (clock.wall, tuple(clock.state())) == (36, LEDGERS)


def test_an_exception_charges_what_was_done_and_an_unknown_ledger_is_refused(tmp_path):
    hands = Hands()
    clock = Clock(tmp_path / "clock.json", now=hands)

    with suppress(ZeroDivisionError), clock("train"):
        hands.time += 4
        hands.time /= 0
    hands.time += 9
    assert clock.wall == clock.seconds("train") == 4
    with pytest.raises(KeyError, match="tea"), clock("tea"):
        pass


def test_work_after_the_last_checkpoint_of_a_killed_run_is_lost(tmp_path):
    hands, beat = Hands(), tmp_path / "clock.json"
    first = Clock(beat, now=hands)
    with first("train"):
        hands.time += 30
    saved = first.state()
    with first("checkpoint"):
        hands.time += 2  # writing what was saved is not lost
    with first("train"):
        hands.time += 12
    # Killed here. The next process reads the checkpoint and the heartbeat.
    second = Clock(beat, now=hands)
    with second("checkpoint"):
        hands.time += 1
        second.restore(saved)
    with second("train"):
        hands.time += 5
    ledgers = second.state()
    assert (ledgers["train"], ledgers["lost"], ledgers["checkpoint"]) == (35, 12, 3)
    assert second.wall == 50
    assert json.loads(beat.read_text()) == ledgers


def test_synchronize_runs_before_a_ledger_is_read(tmp_path):
    hands = Hands()

    def kernels():
        hands.time += 2  # work that was launched and is still in flight

    clock = Clock(tmp_path / "clock.json", kernels, hands)
    with clock("train"):
        pass
    assert clock.seconds("train") == 2


def test_without_a_checkpoint_all_work_is_lost_and_a_torn_heartbeat_stops_no_resume(
    tmp_path, capsys
):
    hands, beat = Hands(), tmp_path / "clock.json"
    with Clock(beat, now=hands)("train"):
        hands.time += 7
    clock = Clock(beat, now=hands)
    clock.restore({})
    assert clock.state()["lost"] == clock.wall == 7
    whole = beat.read_text()
    # As a power cut or a bad disk may leave it: the checkpoint's ledgers still hold.
    for number, torn in enumerate(("", "[]", whole.replace("7", "NaN"), whole[:9]), start=1):
        beat.write_text(torn)
        clock = Clock(beat)
        clock.restore({"train": 5.0})
        assert (clock.seconds("train"), clock.seconds("lost")) == (5.0, 0.0)
        assert f"put aside as clock.json.damaged-{number}, made again" in capsys.readouterr().err


def feed(rates):
    throughput, samples, seconds = Throughput(), 0, 0.0
    for rate in rates:
        samples, seconds = samples + 30 * rate, seconds + 30
        throughput.update(samples, seconds)
    return throughput


def test_a_window_closes_when_it_is_full_and_holds_samples_per_second():
    assert feed([10, 12, 11]).windows == [10, 12, 11]
    throughput = Throughput()
    throughput.update(100, 29.9)
    assert throughput.windows == []
    throughput.update(120, 30.0)
    assert throughput.windows == [4.0]
    assert throughput.verdict.startswith("not judged: 1 windows")


def test_a_wide_spread_invalidates_the_clock():
    assert feed([100, 101, 100, 99, 100]).verdict == "valid"
    assert feed([100, 90, 110, 80, 120]).verdict == "invalid: clock"
    # Quartiles 95 and 100 around a median of 100 are exactly 5 %: still valid.
    assert feed([95, 95, 100, 100, 100]).verdict == "valid"
    assert feed([94, 94, 100, 100, 100]).verdict == "invalid: clock"


def test_state_goes_on_in_the_middle_of_a_window():
    first = feed([10])
    first.update(400, 40.0)
    second = Throughput(**asdict(first))
    second.update(900, 60.0)
    assert second.windows == [10, 20]
