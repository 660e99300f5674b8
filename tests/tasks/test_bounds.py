"""The rows that frame every table."""

import numpy as np
import torch

from benchmarks.tasks import bounds
from crossflow.problem import MapShape
from crossflow.store import Store
from crossflow.store_writer import write_store


def test_the_mean_map_is_summed_in_float64():
    maps = np.float32([[[1e8, 1]], [[1, 2]], [[1, 6]]])
    found = bounds.mean_map(maps)
    assert found.dtype == np.float32
    assert found.tolist() == [[np.float32((1e8 + 2) / 3), 3]]


def test_the_most_frequent_text_is_the_first_of_equals():
    assert bounds.most_frequent(iter(["b", "a", "c", "a", "b"])) == "b"


def test_random_rows_are_fixed_and_more_contain_fewer():
    rows = bounds.random_rows(1000, 50)
    assert rows.tolist() == bounds.random_rows(1000, 80)[:50].tolist()
    assert rows[:4].tolist() == [850, 636, 511, 269]
    assert set(bounds.random_rows(3, 100).tolist()) == {0, 1, 2}


def test_the_oracle_is_every_target_decoded_in_order(tmp_path):
    shape, count = MapShape(1, 2, 2), 2 * bounds.BATCH + 3
    target = np.random.default_rng(0).normal(3, 2, (count, 1, 2, 2)).astype(np.float32)

    def batches(start, stop):
        ids = [str(k) for k in range(start, stop)]
        part = target[start:stop]
        yield {"target": part, "source": part, "groups": list(range(start, stop)), "ids": ids}

    store: Store = write_store(tmp_path / "s", shape, shape, {"made": 1}, count, batches)
    decoded = bounds.oracle(store, lambda rows: list(rows))
    found = torch.stack(decoded).numpy()
    assert np.allclose(found, target, atol=0.02)  # stores keep float16
