import json
import os
import pickle

import numpy as np
import pytest
import torch

from crossflow.errors import InputError
from crossflow.problem import MapShape, TokenShape
from crossflow.store import Store, standardise, unstandardise
from crossflow.store_writer import StoreWriter

MAP, IMAGE, WORDS = MapShape(2, 4, 4), MapShape(3, 4, 4), TokenShape(6, vocabulary=50)
RNG = np.random.default_rng(0)
TARGET = RNG.normal(3, 2, (25, *MAP.sizes)).astype(np.float32)
SOURCE = RNG.integers(0, 256, (25, *IMAGE.sizes), dtype=np.uint8)
IDS = [f"ä {i}" for i in range(25)]


def write(folder, *, shard_rows=7, step=10, fingerprint=None, **options):
    with StoreWriter(
        folder, IMAGE, MAP, fingerprint or {"data": "v1"}, shard_rows=shard_rows, **options
    ) as writer:
        for k in range(0, 25, step):
            part = slice(k, k + step)
            writer.add(
                target=TARGET[part],
                source=SOURCE[part],
                groups=np.arange(25)[part] // 2,
                ids=IDS[part],
            )
    return Store(folder)


def test_rows_come_back_standardised_by_channel(tmp_path):
    store = write(tmp_path / "store")
    rows = [24, 0, 7, 7, 13]  # several shards, out of order, one twice
    pair = store.pairs(rows)
    expected = (TARGET - TARGET.mean((0, 2, 3), keepdims=True)) / TARGET.std((0, 2, 3))[
        :, None, None
    ]
    assert pair.target.dtype == pair.source.values.dtype == torch.float32
    np.testing.assert_allclose(pair.target.numpy(), expected[rows], rtol=1e-4, atol=1e-5)
    assert pair.groups.tolist() == [12, 0, 3, 3, 6]
    assert pair.source.mask is None
    whole = store.pairs(range(25)).source.values
    assert whole.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(whole.std((0, 2, 3), correction=0), torch.ones(3))
    assert (store.read("source", rows, [0] * 5) == SOURCE[rows]).all()


def test_store_knows_its_shapes_ids_and_counts(tmp_path):
    store = write(tmp_path / "a folder=ä, [x]" / "store")
    assert (len(store), store.ids, store.captions) == (25, IDS, 1)
    assert (store.source_shape, store.target_shape) == (IMAGE, MAP)
    assert store.groups.tolist() == [k // 2 for k in range(25)]


def test_unstandardise_is_the_inverse():
    statistics = {"mean": [1.0, -2.0], "std": [0.5, 3.0]}
    values = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(unstandardise(standardise(values, statistics), statistics), values)


def test_files_and_batches_do_not_change_the_content(tmp_path):
    one = write(tmp_path / "one", shard_rows=100, step=25)
    many = write(tmp_path / "many", shard_rows=4, step=3)
    assert one.digest == many.digest
    assert one.ids == many.ids
    assert torch.equal(one.pairs(range(25)).source.values, many.pairs(range(25)).source.values)
    np.testing.assert_allclose(one.statistics["target"]["std"], many.statistics["target"]["std"])
    # No file per sample.
    assert len(list((tmp_path / "many").iterdir())) < 25 + 10


def test_other_content_has_another_digest(tmp_path):
    first = write(tmp_path / "first").digest
    TARGET[3, 0, 0, 0] += 1
    try:
        assert write(tmp_path / "second").digest != first
    finally:
        TARGET[3, 0, 0, 0] -= 1


def test_validation_uses_the_training_set_statistics(tmp_path):
    train = write(tmp_path / "train")
    with StoreWriter(tmp_path / "val", IMAGE, MAP, {}, statistics=train.statistics) as writer:
        writer.add(target=TARGET[:2] + 5, source=SOURCE[:2], groups=[0, 1], ids=["a", "b"])
    validation = Store(tmp_path / "val")
    assert validation.statistics == train.statistics
    shift = validation.pairs([0]).target - train.pairs([0]).target
    std = torch.tensor(train.statistics["target"]["std"])
    torch.testing.assert_close(shift[0, :, 0, 0], 5 / std)


def test_a_shared_standard_leaves_the_source_in_the_targets_units(tmp_path):
    """A flow that stands still, decoded like a target, must give back the raw source."""
    source = (0.8 * TARGET - 1).astype(np.float32)
    with StoreWriter(tmp_path / "s", MAP, MAP, {}, shared_statistics=True) as writer:
        writer.add(target=TARGET, source=source, groups=range(25), ids=IDS)
    store = Store(tmp_path / "s")
    assert store.statistics["source"] == store.statistics["target"]
    pair = store.pairs(range(25))
    restored = unstandardise(pair.source.values, store.statistics["target"])
    np.testing.assert_allclose(restored.numpy(), source, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair.target.std((0, 2, 3), correction=0), torch.ones(2))


def test_fields_of_different_shape_share_no_standard(tmp_path):
    with pytest.raises(InputError, match="cannot share statistics"):
        StoreWriter(tmp_path / "s", IMAGE, MAP, {}, shared_statistics=True)


def test_five_captions_of_a_target(tmp_path):
    words = RNG.integers(0, 50, (9, 5, 6)).astype(np.int16)
    mask = np.arange(6) < RNG.integers(1, 7, (9, 5, 1))
    with StoreWriter(tmp_path / "s", WORDS, MAP, {}, shard_rows=4) as writer:
        writer.add(target=TARGET[:9], source=words, mask=mask, groups=range(9), ids=IDS[:9])
    store = Store(tmp_path / "s")
    pair = store.pairs([8, 1, 1], [4, 0, 3])
    assert (store.captions, store.source_shape) == (5, WORDS)
    assert pair.source.values.dtype == torch.int64
    assert pair.source.values.tolist() == [words[8, 4].tolist(), *words[1, [0, 3]].tolist()]
    assert pair.source.mask.tolist() == [mask[8, 4].tolist(), *mask[1, [0, 3]].tolist()]
    assert torch.equal(pair.target[1], pair.target[2])


def test_five_targets_of_a_source(tmp_path):
    """Captioning: one image, a latent per caption."""
    latents = RNG.normal(size=(6, 5, *MAP.sizes)).astype(np.float16)
    with StoreWriter(tmp_path / "s", IMAGE, MAP, {}) as writer:
        writer.add(target=latents, source=SOURCE[:6], groups=range(6), ids=IDS[:6])
    store = Store(tmp_path / "s")
    pair = store.pairs([2, 2], [1, 4])
    restored = unstandardise(pair.target, store.statistics["target"])
    np.testing.assert_allclose(restored.numpy(), latents[2, [1, 4]], atol=2e-3)
    assert torch.equal(pair.source.values[0], pair.source.values[1])


def test_features_keep_their_scale(tmp_path):
    features = RNG.normal(4, 1, (5, 1, 6, 8)).astype(np.float16)
    shape = TokenShape(6, width=8)
    with StoreWriter(tmp_path / "s", shape, MAP, {}) as writer:
        ones = np.ones((5, 1, 6), dtype=bool)
        writer.add(target=TARGET[:5], source=features, mask=ones, groups=range(5), ids=IDS[:5])
    store = Store(tmp_path / "s")
    values = store.pairs([3]).source.values
    assert (store.captions, store.source_shape) == (1, shape)
    assert values.dtype == torch.float32
    assert values.tolist() == features[3].astype(np.float32).tolist()


def test_a_stale_store_is_refused_and_says_why(tmp_path):
    write(tmp_path / "store", fingerprint={"data": "v1", "size": 64})
    Store(tmp_path / "store", {"size": 64, "data": "v1"})
    with pytest.raises(InputError, match=r"size: 64 there, 32 now\): delete it"):
        Store(tmp_path / "store", {"data": "v1", "size": 32})


def test_an_interrupted_write_leaves_nothing_that_opens(tmp_path):
    def interrupted():
        with StoreWriter(tmp_path / "store", IMAGE, MAP, {}, shard_rows=2) as writer:
            writer.add(target=TARGET[:9], source=SOURCE[:9], groups=range(9), ids=IDS[:9])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="is not a store"):
        Store(tmp_path / "store")


def test_a_killed_write_leaves_nothing_that_opens(tmp_path):
    # Never closed, as after SIGKILL: the shards stay under a hidden name, the store is not there.
    writer = StoreWriter(tmp_path / "store", IMAGE, MAP, {}, shard_rows=2)
    writer.add(target=TARGET[:9], source=SOURCE[:9], groups=range(9), ids=IDS[:9])
    assert not (tmp_path / "store").exists()
    assert len(write(tmp_path / "store")) == 25


def test_what_a_killed_writer_left_is_removed(tmp_path, monkeypatch):
    def start(process):
        monkeypatch.setattr("crossflow.store_writer.os.getpid", lambda: process)
        return StoreWriter(tmp_path / "store", IMAGE, MAP, {})._partial

    alive, dead = os.getpid(), 2**22 + 1  # above the largest process number of Linux
    left, working = start(dead), start(alive)
    assert not left.exists()
    start(alive)
    assert working.exists()


def test_the_second_of_two_writers_is_told(tmp_path):
    slow = StoreWriter(tmp_path / "store", IMAGE, MAP, {})
    slow.add(target=TARGET[:9], source=SOURCE[:9], groups=range(9), ids=IDS[:9])
    digest = write(tmp_path / "store").digest
    with pytest.raises(InputError, match="written by another process meanwhile"):
        slow.close()
    assert Store(tmp_path / "store").digest == digest


def test_an_existing_store_is_not_overwritten(tmp_path):
    write(tmp_path / "store")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "store")


def test_an_empty_store_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match="no row was added"),
        StoreWriter(tmp_path / "s", IMAGE, MAP, {}),
    ):
        pass


BAD = {
    "not finite": {"target": np.full((2, 2, 4, 4), np.nan, dtype=np.float32)},
    "does not end in": {"target": TARGET[:2, :1]},
    "does not end in ": {"source": SOURCE[:2, None, None]},
    "dtype float64": {"target": TARGET[:2].astype(np.float64)},
    "rows for 2 ids": {"groups": [1, 2, 3]},
    "takes none": {"mask": np.ones((2, 1, 4), dtype=bool)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_batches_are_refused(tmp_path, message):
    good = {"target": TARGET[:2], "source": SOURCE[:2], "groups": [0, 1], "ids": ["a", "b"]}
    writer = StoreWriter(tmp_path / "s", IMAGE, MAP, {})
    with pytest.raises(InputError, match=message):
        writer.add(**{**good, **BAD[message]})
    writer.add(**good)
    writer.close()
    assert Store(tmp_path / "s").ids == ["a", "b"]


def test_the_dtype_cannot_change_on_the_way(tmp_path):
    writer = StoreWriter(tmp_path / "s", IMAGE, MAP, {})
    writer.add(target=TARGET[:2], source=SOURCE[:2], groups=[0, 1], ids=["a", "b"])
    with pytest.raises(InputError, match="field target"):
        writer.add(
            target=TARGET[:2].astype(np.float16), source=SOURCE[:2], groups=[0, 1], ids=["c", "d"]
        )


def test_a_constant_channel_cannot_be_standardised(tmp_path):
    flat = np.stack([TARGET[:4, 0], np.ones((4, 4, 4), np.float32)], axis=1)
    writer = StoreWriter(tmp_path / "s", IMAGE, MAP, {})
    writer.add(target=flat, source=SOURCE[:4], groups=range(4), ids=IDS[:4])
    with pytest.raises(InputError, match="channel 1 of target is constant"):
        writer.close()


def test_rows_outside_are_refused(tmp_path):
    store = write(tmp_path / "store")
    for row in (-1, 25):
        with pytest.raises(IndexError):
            store.pairs([0, row])


def test_each_process_maps_the_files_itself(tmp_path, monkeypatch):
    store = write(tmp_path / "store")
    expected = store.pairs([1, 20]).target
    mine = store._map("target", 0)
    assert store._map("target", 0) is mine
    copy = pickle.loads(pickle.dumps(store))  # as it reaches a spawned worker
    assert copy._maps == {}
    assert torch.equal(copy.pairs([1, 20]).target, expected)
    monkeypatch.setattr("crossflow.store.os.getpid", lambda: -1)  # as after a fork
    assert store._map("target", 0) is not mine
    assert torch.equal(store.pairs([1, 20]).target, expected)


def test_another_format_version_is_refused(tmp_path):
    store = write(tmp_path / "store")
    manifest = {**store.manifest, "version": 99}
    (tmp_path / "store" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="store format 99"):
        Store(tmp_path / "store")
