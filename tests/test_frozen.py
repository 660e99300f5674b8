"""What must not change: values that were computed once and are kept in tests/frozen/*.json.

They were made by `python -m tests.frozen.make` from the code of commit 1fa912c, and are made again
only where a commit says which number changes and why. The tests only compare.
"""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.report.command import main as report
from tests.frozen.values import (
    LIMITS,
    METHODS,
    PROBLEMS,
    PUBLIC,
    REAL,
    SMALL,
    TABLETOP,
    cost,
    derived_values,
    losses,
    processor,
    real_values,
    record_values,
    sha256,
    task_values,
)

FROZEN = Path(__file__).parent / "frozen"


def frozen(name):
    return json.loads((FROZEN / f"{name}.json").read_text())


def flat(value, name=""):
    """Nested dictionaries and lists as one dictionary, so that a failure names what differs."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in pairs for k, v in flat(item, f"{name}/{key}").items()}
    return {name: value}


def same(value, expected, rel):
    value, expected = flat(value), flat(expected)
    assert value.keys() == expected.keys()
    different = {
        name: (value[name], known)
        for name, known in expected.items()
        if value[name] != (pytest.approx(known, rel, 0) if isinstance(known, float) else known)
    }
    assert different == {}


def same_task(values, expected):
    if frozen("processor") == processor():
        return same(values, expected, 1e-9)
    for one in (values, expected):
        for name in ("fair_key", "train", "validation", "test"):
            one.pop(name, None)
        if "fair" in one:
            del one["fair"]["rules"]["training_data"], one["fair"]["codecs"]
    return same(values, expected, 1e-3)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_records_and_what_is_derived_from_them():
    assert record_values() == frozen("records")
    assert derived_values() == frozen("derived")


def test_records_survive_read_and_dump(tmp_path):
    for record in records.read_all(PUBLIC):
        path = records.write(record, tmp_path)
        published = PUBLIC / path.relative_to(tmp_path)
        assert path.read_bytes() == published.read_bytes()


def test_keys_of_records_are_the_digests_of_their_fields():
    for name, (_, score_key, fair_key) in frozen("records").items():
        fair = records.read(PUBLIC / "records" / name.split("-")[0] / f"{name}.json").fair
        assert keys.digest(fair.score) == score_key
        assert (None if fair.fair is None else keys.digest(fair.fair)) == fair_key


def test_report_makes_the_same_files(tmp_path):
    for name in ("records", "items", "curves", "samples"):
        (tmp_path / name).symlink_to(PUBLIC / name)
    assert report(["leaderboard", "--out", str(tmp_path)]) == 0
    assert report(["tables", "--out", str(tmp_path)]) == 0
    known = frozen("derived")
    del known["expected.csv"]
    for name, digest in known.items():
        assert sha256((tmp_path / name).read_bytes()) == digest, name


@pytest.mark.parametrize("task", TABLETOP)
def test_tabletop(work, task):
    same_task(task_values(task, work, *LIMITS), frozen("tabletop")[task])


@pytest.mark.parametrize("task", REAL)
def test_real(bench_data, work, task):
    same_task(real_values(task, bench_data, work), frozen("real")[task])


@pytest.mark.parametrize("problem", PROBLEMS)
def test_cost(problem):
    values = {method: cost(method, PROBLEMS[problem]) for method in METHODS}
    same(values, frozen("cost")[problem], 1e-12)


@pytest.mark.parametrize("problem", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_losses(problem, method, tmp_path):
    expected = frozen("losses")[problem].get(method)
    if expected is None:
        pytest.skip(f"{method} does not apply")
    same(losses(method, SMALL[problem], tmp_path), expected, 1e-6)
