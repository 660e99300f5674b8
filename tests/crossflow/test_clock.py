import json
import time

import pytest

from crossflow.clock import LEDGERS, Clock


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_time_goes_to_the_innermost_ledger_and_is_charged_once():
    hands = Hands()
    clock = Clock(now=hands)
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
    assert clock.state() == {
        **dict.fromkeys(LEDGERS, 0.0),
        "other": 3.0,
        "train": 30.0,
        "checkpoint": 3.0,
    }
    assert clock.wall == 36


def test_ledgers_sum_to_real_wall_time_within_one_percent():
    clock = Clock()
    start = time.perf_counter()
    with clock("other"):
        for _ in range(20):
            with clock("train"):
                time.sleep(0.005)
            with clock("eval"):
                time.sleep(0.002)
            time.sleep(0.001)
    wall = time.perf_counter() - start
    assert clock.wall == pytest.approx(wall, rel=0.01)
    assert clock.seconds("train") >= 0.1
    assert 0.04 <= clock.seconds("eval") < clock.seconds("train")


def test_an_exception_leaves_the_ledger_and_charges_what_was_done():
    hands = Hands()
    clock = Clock(now=hands)

    def fail():
        with clock("train"):
            hands.time += 4
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    hands.time += 9
    assert clock.wall == clock.seconds("train") == 4


def test_unknown_ledger_is_refused():
    with pytest.raises(ValueError, match="no ledger 'tea'"), Clock()("tea"):
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


def test_without_any_checkpoint_all_work_is_lost(tmp_path):
    hands, beat = Hands(), tmp_path / "clock.json"
    with Clock(beat, now=hands)("train"):
        hands.time += 7
    clock = Clock(beat, now=hands)
    clock.restore({})
    assert clock.state()["lost"] == clock.wall == 7


def test_synchronize_runs_before_a_ledger_is_read():
    hands = Hands()

    def kernels():
        hands.time += 2  # work that was launched and is still in flight

    clock = Clock(synchronize=kernels, now=hands)
    with clock("train"):
        pass
    assert clock.seconds("train") == 2


def test_a_torn_heartbeat_does_not_stop_a_resume(tmp_path):
    """A power cut may leave it empty: the checkpoint's ledgers still hold."""
    beat = tmp_path / "clock.json"
    beat.write_text("")
    clock = Clock(beat)
    clock.restore({"train": 5.0})
    assert clock.seconds("train") == 5.0
    assert clock.seconds("lost") == 0.0
