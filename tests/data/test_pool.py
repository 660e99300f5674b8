"""Results in the order of the items, whoever was first; errors in their turn; bounded memory."""

import threading
import time

import pytest

from benchmarks.data.pool import available_cores, ordered_map


@pytest.mark.parametrize("workers", [None, 1, 2, 5])
def test_order_is_that_of_the_items(workers):
    def late_first(number):
        time.sleep(0.002 * (7 - number % 7))
        return number * number

    assert list(ordered_map(late_first, range(20), workers)) == [i * i for i in range(20)]
    assert list(ordered_map(late_first, [], workers)) == []


def test_workers_run_side_by_side():
    """Two calls that wait for each other end only where both run at once; one worker is none."""
    meeting = threading.Barrier(2)

    def meet(_):
        meeting.wait(timeout=10)
        return threading.current_thread().name

    names = set(ordered_map(meet, range(2), 2))
    assert len(names) == 2
    main = threading.current_thread().name
    assert set(ordered_map(lambda _: threading.current_thread().name, range(3), 1)) == {main}


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_in_its_turn(workers):
    begun = []

    def fail(number):
        begun.append(number)
        if number == 2:
            time.sleep(0.02)  # the later error is met first
        if number in (2, 3):
            raise ValueError(f"item {number}")
        return number

    found = []
    with pytest.raises(ValueError, match="item 2"):
        found.extend(ordered_map(fail, range(100), workers))
    assert found == [0, 1]
    assert max(begun) < 10, "no further item is begun"


def test_items_are_read_no_further_than_needed():
    read = []

    def items():
        for number in range(100):
            read.append(number)
            yield number

    results = ordered_map(lambda number: number, items(), 2)
    assert next(results) == 0
    assert len(read) == 4
    results.close()
    assert len(read) == 4
    assert not [t for t in threading.enumerate() if t.name.startswith("ordered_map")]


def test_number_of_workers():
    assert 1 <= available_cores() <= 32
    with pytest.raises(ValueError, match="workers=0"):
        ordered_map(abs, [1], 0)
