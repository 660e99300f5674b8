"""Batches are read ahead: what their order says, inside a step and nowhere else."""

import threading

import pytest
import torch

from crossflow.batches import Batches
from crossflow.errors import InputError
from crossflow.order import Order


@pytest.fixture
def batches(toy, tmp_path):
    store = toy.make_store(tmp_path / "store")
    return Batches(store, Order(0, len(store), 8), range(8), torch.device("cpu"))


def spied(batches, monkeypatch):
    """(step, whether another thread read it) of each read."""
    read, reads = batches.read, []

    def spy(step):
        reads.append((step, threading.current_thread() is not threading.main_thread()))
        return read(step)

    monkeypatch.setattr(batches, "read", spy)
    return reads


def test_batches_are_those_of_the_order_and_read_once(batches, monkeypatch):
    plain, reads = [batches.read(step) for step in range(3)], spied(batches, monkeypatch)
    for step in range(3):
        with batches.reading(step) as pair:
            assert torch.equal(pair.target, plain[step].target)
            assert torch.equal(pair.source.values, plain[step].source.values)
        assert [each[0] for each in reads] == list(range(step + 2))  # the block waited for it
    assert [ahead for _, ahead in reads] == [False, True, True, True]
    batches.drop()
    with batches.reading(7):  # of a resumed run: what was read for another step is not taken
        pass
    assert reads[4:] == [(7, False), (8, True)]


def test_what_goes_wrong_in_reading_is_raised_by_its_own_step(batches, tmp_path):
    """Neither by the step before, nor where it never comes."""
    with batches.reading(0):
        pass
    with (tmp_path / "store/target.npy").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    batches._store._sound.clear()
    with batches.reading(1):  # was read before
        pass
    damaged = pytest.raises(InputError, match=r"damaged \(target\.npy, rows from 0 on\)")
    with damaged, batches.reading(2):
        pytest.fail("there is no batch")


def test_a_step_that_fails_leaves_no_thread_at_work_and_no_batch(batches, monkeypatch):
    reads = spied(batches, monkeypatch)
    with pytest.raises(ZeroDivisionError), batches.reading(0):
        raise ZeroDivisionError
    assert reads == [(0, False), (1, True)]
    assert batches._ahead == {}
