"""A store that is interrupted, shared by processes or fought over: the same bytes, or an error."""

import threading

import numpy as np
import pytest

from crossflow import store_writer
from crossflow.errors import InputError
from crossflow.problem import MapShape
from crossflow.store_locks import Share, held, is_working
from crossflow.store_writer import write_store

SHAPE, ROWS = MapShape(2, 3, 3), 40
RNG = np.random.default_rng(1)
TARGET = RNG.normal(size=(ROWS, 2, 3, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("crossflow.store_locks.POLL_SECONDS", 0.01)
    monkeypatch.setattr("crossflow.store_writer.POLL_SECONDS", 0.01)


def rows(start, stop):
    for first in range(start, stop, 3):
        part = slice(first, min(first + 3, stop))
        names = [f"{'x' * (row // 9)}{row}" for row in range(ROWS)[part]]
        fields = {"target": TARGET[part], "source": 2 * TARGET[part]}
        yield fields | {"groups": range(ROWS)[part], "ids": names}


def write(folder, batches=rows, facts=None, **options):
    return write_store(
        folder, SHAPE, SHAPE, facts or {"data": 1}, ROWS, batches, shard_rows=6, **options
    )


def files(folder):
    """Content of every file by its path, hidden ones too."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "store"
    write(folder)
    return files(folder)


def broken_at(row, asked=None):
    """`batches` that fail before a row, and note the ranges they were asked for."""

    def batches(start, stop):
        if asked is not None:
            asked.append((start, stop))
        for batch in rows(start, stop):
            if row in batch["groups"]:
                raise KeyboardInterrupt
            yield batch

    return batches


@pytest.mark.parametrize("row", [6, 17, 39])
def test_an_interrupted_store_goes_on_with_the_shards_that_are_whole(tmp_path, unbroken, row):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(row))
    assert not (tmp_path / "store").exists()
    asked = []
    write(tmp_path / "store", broken_at(None, asked))
    assert asked == [(k, min(k + 6, ROWS)) for k in range(row // 6 * 6, ROWS, 6)]
    assert files(tmp_path / "store") == unbroken
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_interruption_in_the_first_shard_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(5))
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_leaves_is_cleared(tmp_path, unbroken):
    """SIGKILL runs no cleanup: unfinished files, and a shard whose file is not as noted."""
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(30))
    (partial,) = tmp_path.iterdir()
    for name in ("target-00006.npy.rank-0.tmp", "shards/00006.json.rank-3.tmp", "strange"):
        (partial / name).write_bytes(b"half")
    (partial / "ids-00009.npy.rank-7.tmp").write_bytes(b"half")
    with (partial / "source-00002.npy").open("r+b") as file:
        file.truncate(100)
    (partial / "target-00001.npy").unlink()
    asked = []
    write(tmp_path / "store", broken_at(None, asked))
    assert asked == [(6, 12), (12, 18), (30, 36), (36, 40)]
    assert files(tmp_path / "store") == unbroken


@pytest.mark.parametrize("facts", [{"data": 2}, {"data": 1, "more": 0}])
def test_what_was_begun_from_other_data_is_not_used(tmp_path, facts):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(30))
    asked = []
    write(tmp_path / "store", broken_at(None, asked), facts)
    assert len(asked) == 7


def in_threads(*calls):
    """Runs calls side by side (a lock belongs to an open file, so threads keep apart as well)."""
    errors = []

    def guarded(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("world", [2, 3, 9])
def test_several_processes_write_the_bytes_of_one(tmp_path, unbroken, world):
    asked = [[] for _ in range(world)]

    def part(rank):
        batches = broken_at(None, asked[rank])
        return lambda: write(tmp_path / "store", batches, share=Share(rank, world))

    assert in_threads(*map(part, range(world))) == []
    assert files(tmp_path / "store") == unbroken
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    for rank, ranges in enumerate(asked):
        assert [start // 6 for start, _ in ranges] == list(range(7))[rank::world]


@pytest.mark.parametrize("before", [1, 2, 3])
def test_another_number_of_processes_may_go_on(tmp_path, unbroken, before):
    def broken(rank):
        return lambda: write(tmp_path / "store", broken_at(33), share=Share(rank, before))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_writer, "PATIENCE", 0.1)
        assert in_threads(*map(broken, range(before)))
    write(tmp_path / "store")
    assert files(tmp_path / "store") == unbroken


def test_a_process_that_died_is_named(tmp_path, unbroken, monkeypatch):
    monkeypatch.setattr(store_writer, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match=r"process 1 of 2 is not running and owes 3 of 7 shards"):
        write(tmp_path / "store", share=Share(0, 2))
    assert not (tmp_path / "store").exists()
    write(tmp_path / "store")
    assert files(tmp_path / "store") == unbroken


def test_a_slow_process_is_waited_for(tmp_path, monkeypatch):
    """Patience is for those that do not run: who holds his lock may take as long as he likes."""
    monkeypatch.setattr(store_writer, "PATIENCE", 0.1)
    gate = threading.Event()

    def slow(start, stop):
        gate.wait(0.5)
        yield from rows(start, stop)

    assert not in_threads(
        lambda: write(tmp_path / "store", share=Share(0, 2)),
        lambda: write(tmp_path / "store", slow, share=Share(1, 2)),
    )


def test_a_second_job_waits_and_uses_the_store(tmp_path, unbroken):
    begun, go_on = threading.Event(), threading.Event()
    asked = []

    def slow(start, stop):
        begun.set()
        assert go_on.wait(10)
        yield from rows(start, stop)

    def second():
        assert begun.wait(10)
        threading.Timer(0.2, go_on.set).start()
        write(tmp_path / "store", broken_at(None, asked))

    assert in_threads(lambda: write(tmp_path / "store", slow), second) == []
    assert asked == []
    assert files(tmp_path / "store") == unbroken
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_second_job_takes_over_from_one_that_failed(tmp_path, unbroken):
    begun = threading.Event()

    def fails(start, stop):
        begun.set()
        yield from broken_at(20)(start, stop)

    def second():
        assert begun.wait(10)
        write(tmp_path / "store")

    (error,) = in_threads(lambda: write(tmp_path / "store", fails), second)
    assert isinstance(error, KeyboardInterrupt)
    assert files(tmp_path / "store") == unbroken


def test_jobs_of_different_size_do_not_harm_each_other(tmp_path, unbroken):
    calls = [Share(0, 2), Share(1, 2), Share(), Share(2, 3)]
    assert not in_threads(*(lambda s=s: write(tmp_path / "store", share=s) for s in calls))
    assert files(tmp_path / "store") == unbroken
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_progress_counts_all_processes_and_begins_with_what_was_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(20))
    said = []
    write(tmp_path / "store", report=lambda done, total: said.append((done, total)))
    assert said[0] == (18, ROWS)
    assert said[-1] == (ROWS, ROWS)
    assert said == sorted(said)


def test_a_lock_goes_with_its_holder(tmp_path):
    path = tmp_path / "rank-0.lock"
    assert not is_working(path)
    with held(path, shared=False, unless=lambda: False) as mine:
        assert mine
        assert is_working(path)
    assert not path.exists()
    path.touch()  # what a killed holder leaves
    assert not is_working(path)


def test_a_lock_is_waited_for_until_it_is_not_needed(tmp_path):
    path = tmp_path / "writers.lock"
    asked = []

    def unless():
        asked.append(1)
        return len(asked) > 3

    with (
        held(path, shared=True, unless=lambda: False),
        held(path, shared=True, unless=lambda: False) as also,
        held(path, shared=False, unless=unless) as alone,
    ):
        assert also
        assert not alone


@pytest.mark.parametrize(
    ("rank", "world", "share"),
    [(None, None, Share(0, 1)), ("1", "2", Share(1, 2)), ("2", "2", None), ("a", "2", None)],
)
def test_the_share_is_read_as_torchrun_gives_it(rank, world, share):
    given = {"RANK": rank, "WORLD_SIZE": world}
    environment = {name: value for name, value in given.items() if value is not None}
    if share is None:
        with pytest.raises(InputError, match=f"RANK={rank}, WORLD_SIZE={world}"):
            Share.of(environment)
    else:
        assert Share.of(environment) == share
