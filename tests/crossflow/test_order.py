from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.match.order_proof import is_prefix, replay
from crossflow.order import MARKS, Chain, Order


def reads(order, steps):
    parts = [order.step(step) for step in range(steps)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def test_each_epoch_has_each_row_once_in_a_new_order():
    rows, _ = reads(Order(0, 10, 4), 10)  # 40 reads: four epochs, boundaries inside steps
    epochs = rows.reshape(4, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_step_does_not_depend_on_the_steps_before():
    order = Order(3, 17, 5, captions=5)
    _ = [order.step(step) for step in range(20)]
    for mine, fresh in zip(order.step(12), Order(3, 17, 5, captions=5).step(12), strict=True):
        assert (mine == fresh).all()
    small, large = Order(1, 12, 3, 4), Order(1, 12, 30, 4)  # nor on the batch
    for mine, other in zip(reads(small, 10), reads(large, 1), strict=True):
        assert (mine == other).all()
    assert (reads(Order(0, 50, 50), 1)[0] != reads(Order(1, 50, 50), 1)[0]).any()


def test_known_order_stays():
    """A golden value: a changed order would make old and new runs differ in their data."""
    rows, captions = Order(seed=0, rows=8, batch=8, captions=5).step(0)
    assert rows.tolist() == [5, 4, 0, 3, 7, 6, 2, 1]
    assert captions.tolist() == [3, 2, 4, 4, 3, 3, 1, 1]


def test_all_captions_are_drawn_about_equally():
    _, captions = reads(Order(0, 100, 100, captions=5), 50)
    counts = np.bincount(captions, minlength=5)
    # 5000 draws, 1000 each; 5 standard deviations are 141.
    assert abs(counts - 1000).max() < 141


def chain_of(order, steps, ids):
    chain = Chain()
    for step in range(steps):
        rows, captions = order.step(step)
        chain.update([ids[row] for row in rows], captions)
    return chain


IDS = [f"scene{i}" for i in range(30)]


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 300])
def test_a_shorter_run_is_a_prefix_of_a_longer_one(steps):
    order = Order(0, 30, 4, captions=5)
    longer, shorter = (asdict(chain_of(order, count, IDS)) for count in (301, steps))
    longer["marks"][str(steps)] = replay(order, IDS, [steps])[steps]
    assert is_prefix(shorter, longer)
    assert not is_prefix(longer, shorter)


def test_other_ids_or_captions_break_the_chain():
    right = asdict(chain_of(Order(0, 30, 4, captions=5), 40, IDS))
    other_data = asdict(chain_of(Order(0, 30, 4, captions=5), 40, IDS[::-1]))
    other_captions = asdict(chain_of(Order(0, 30, 4, captions=4), 40, IDS))
    assert is_prefix(right, right)
    assert not is_prefix(other_data, right)
    assert not is_prefix(other_captions, right)
    shorter = asdict(chain_of(Order(0, 30, 4, captions=5), 8, IDS))
    assert is_prefix(shorter, right)
    shorter["marks"]["2"] = "0" * 64
    assert not is_prefix(shorter, right)


def test_marks_stay_few_and_are_shared_by_runs_of_any_length():
    order = Order(0, 30, 4)
    long, short = chain_of(order, 1000, IDS), chain_of(order, 130, IDS)
    assert len(long.marks) <= MARKS
    common = long.marks.keys() & short.marks.keys()
    assert common
    assert all(long.marks[step] == short.marks[step] for step in common)


def test_chain_goes_on_after_restore():
    order = Order(0, 30, 4)
    broken = Chain(**asdict(chain_of(order, 70, IDS)))
    for step in range(70, 200):
        rows, captions = order.step(step)
        broken.update([IDS[row] for row in rows], captions)
    assert broken == chain_of(order, 200, IDS)
