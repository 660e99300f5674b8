import json
import pickle

import numpy as np
import pytest
import torch

from crossflow.errors import InputError
from crossflow.problem import MapShape, TokenShape
from crossflow.store import Store, standardise, unstandardise
from crossflow.store_writer import default_shard_rows, write_store

MAP, IMAGE, WORDS = MapShape(2, 4, 4), MapShape(3, 4, 4), TokenShape(6, vocabulary=50)
RNG = np.random.default_rng(0)
TARGET = RNG.normal(3, 2, (25, *MAP.sizes)).astype(np.float32)
SOURCE = RNG.integers(0, 256, (25, *IMAGE.sizes), dtype=np.uint8)
IDS = [f"ä {i}" for i in range(25)]


def batches_of(step=10, **fields):
    """`batches` of `write_store` from whole fields."""

    def batches(start, stop):
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            yield {name: values[part] for name, values in fields.items()}

    return batches


def rows_of(source, target, rows=25, first=0, **fields):
    """Rows with the usual groups and ids."""
    part = slice(first, first + rows)
    whole = {"groups": np.arange(25) // 2, "ids": IDS, "source": source, "target": target}
    return {name: values[part] for name, values in whole.items()} | fields


def write(folder, *, shard_rows=7, step=10, fingerprint=None, fields=None, shapes=None, **options):
    fields = fields or rows_of(SOURCE, TARGET)
    return write_store(
        folder,
        *(shapes or (IMAGE, MAP)),
        fingerprint or {"data": "v1"},
        len(fields["ids"]),
        batches_of(step, **fields),
        shard_rows=shard_rows,
        **options,
    )


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


def same_files(one, other):
    """Whether two folders hold the same files, byte for byte."""
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (one, other)
    ]
    return contents[0] == contents[1]


def test_batches_do_not_change_a_byte(tmp_path):
    for step in (1, 3, 25):
        write(tmp_path / f"s{step}", step=step)
    assert same_files(tmp_path / "s1", tmp_path / "s3")
    assert same_files(tmp_path / "s1", tmp_path / "s25")


def test_shards_do_not_change_the_content(tmp_path):
    one = write(tmp_path / "one", shard_rows=100)
    many = write(tmp_path / "many", shard_rows=4)
    assert one.ids == many.ids
    np.testing.assert_allclose(one.statistics["target"]["std"], many.statistics["target"]["std"])
    for field in ("target", "source", "groups"):
        found = [store.read(field, range(25), [0] * 25) for store in (one, many)]
        assert (found[0] == found[1]).all()
    # No file per sample: the fields' shards and one note each.
    assert len(list((tmp_path / "many").rglob("*.*"))) == 7 * 5 + 1


def test_large_stores_have_larger_shards():
    assert default_shard_rows(1) == default_shard_rows(1_281_167) == 1024
    assert default_shard_rows(400_000_000) == 98_304  # 4,070 shards


def test_other_content_has_another_digest(tmp_path):
    first = write(tmp_path / "first").digest
    TARGET[3, 0, 0, 0] += 1
    try:
        assert write(tmp_path / "second").digest != first
    finally:
        TARGET[3, 0, 0, 0] -= 1


def test_validation_uses_the_training_set_statistics(tmp_path):
    train = write(tmp_path / "train")
    fields = rows_of(SOURCE, TARGET + 5, rows=2)
    validation = write(tmp_path / "val", fields=fields, statistics=train.statistics)
    assert validation.statistics == train.statistics
    shift = validation.pairs([0]).target - train.pairs([0]).target
    std = torch.tensor(train.statistics["target"]["std"])
    torch.testing.assert_close(shift[0, :, 0, 0], 5 / std)


def test_a_shared_standard_leaves_the_source_in_the_targets_units(tmp_path):
    """A flow that stands still, decoded like a target, must give back the raw source."""
    source = (0.8 * TARGET - 1).astype(np.float32)
    fields = rows_of(source, TARGET)
    store = write(tmp_path / "s", fields=fields, shapes=(MAP, MAP), shared_statistics=True)
    assert store.statistics["source"] == store.statistics["target"]
    pair = store.pairs(range(25))
    restored = unstandardise(pair.source.values, store.statistics["target"])
    np.testing.assert_allclose(restored.numpy(), source, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair.target.std((0, 2, 3), correction=0), torch.ones(2))


def test_fields_of_different_shape_share_no_standard(tmp_path):
    with pytest.raises(InputError, match="cannot share statistics"):
        write(tmp_path / "s", shared_statistics=True)


def test_five_captions_of_a_target(tmp_path):
    words = RNG.integers(0, 50, (9, 5, 6)).astype(np.int16)
    mask = np.arange(6) < RNG.integers(1, 7, (9, 5, 1))
    fields = rows_of(words, TARGET, rows=9, mask=mask)
    store = write(tmp_path / "s", fields=fields, shapes=(WORDS, MAP), shard_rows=4)
    pair = store.pairs([8, 1, 1], [4, 0, 3])
    assert (store.captions, store.source_shape) == (5, WORDS)
    assert pair.source.values.dtype == torch.int64
    assert pair.source.values.tolist() == [words[8, 4].tolist(), *words[1, [0, 3]].tolist()]
    assert pair.source.mask.tolist() == [mask[8, 4].tolist(), *mask[1, [0, 3]].tolist()]
    assert torch.equal(pair.target[1], pair.target[2])


def test_five_targets_of_a_source(tmp_path):
    """Captioning: one image, a latent per caption."""
    latents = RNG.normal(size=(6, 5, *MAP.sizes)).astype(np.float16)
    store = write(tmp_path / "s", fields=rows_of(SOURCE, latents, rows=6))
    pair = store.pairs([2, 2], [1, 4])
    restored = unstandardise(pair.target, store.statistics["target"])
    np.testing.assert_allclose(restored.numpy(), latents[2, [1, 4]], atol=2e-3)
    assert torch.equal(pair.source.values[0], pair.source.values[1])


def test_features_keep_their_scale(tmp_path):
    features = RNG.normal(4, 1, (5, 1, 6, 8)).astype(np.float16)
    shape = TokenShape(6, width=8)
    fields = rows_of(features, TARGET, rows=5, mask=np.ones((5, 1, 6), dtype=bool))
    store = write(tmp_path / "s", fields=fields, shapes=(shape, MAP))
    values = store.pairs([3]).source.values
    assert (store.captions, store.source_shape) == (1, shape)
    assert values.dtype == torch.float32
    assert values.tolist() == features[3].astype(np.float32).tolist()


def test_a_stale_store_is_refused_and_says_why(tmp_path):
    write(tmp_path / "store", fingerprint={"data": "v1", "size": 64})
    Store(tmp_path / "store", {"size": 64, "data": "v1"})
    with pytest.raises(InputError, match=r"size: 64 there, 32 now\): delete it"):
        Store(tmp_path / "store", {"data": "v1", "size": 32})


def test_an_existing_store_is_opened_not_written(tmp_path):
    digest = write(tmp_path / "store").digest

    def unexpected(start, stop):
        raise AssertionError("not asked for")

    again = write_store(tmp_path / "store", IMAGE, MAP, {"data": "v1"}, 25, unexpected)
    assert again.digest == digest
    with pytest.raises(InputError, match="made from something else"):
        write_store(tmp_path / "store", IMAGE, MAP, {"data": "v2"}, 25, unexpected)


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no row"):
        write(tmp_path / "s", fields=rows_of(SOURCE, TARGET, rows=0))
    assert list(tmp_path.iterdir()) == []


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

    def batches(start, stop):
        yield good | BAD[message]

    with pytest.raises(InputError, match=message):
        write_store(tmp_path / "s", IMAGE, MAP, {}, 2, batches)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shard_rows", [1, 2, 4])  # in another shard, in the next batch
def test_the_dtype_cannot_change_on_the_way(tmp_path, shard_rows):
    def batches(start, stop):
        for row in range(start, stop):
            fields = rows_of(SOURCE, TARGET, rows=1, first=row)
            kind = np.float16 if row == 3 else np.float32
            yield fields | {"target": fields["target"].astype(kind)}

    with pytest.raises(InputError, match=r"field target: .*float16"):
        write_store(tmp_path / "s", IMAGE, MAP, {}, 4, batches, shard_rows=shard_rows)


@pytest.mark.parametrize("made", [3, 5])
def test_rows_that_are_not_those_asked_for_are_an_error(tmp_path, made):
    def batches(start, stop):
        yield rows_of(SOURCE, TARGET, rows=made)

    with pytest.raises(ValueError, match="shard 0"):
        write_store(tmp_path / "s", IMAGE, MAP, {}, 4, batches)
    assert list(tmp_path.iterdir()) == []


def test_a_constant_channel_cannot_be_standardised(tmp_path):
    flat = np.stack([TARGET[:4, 0], np.ones((4, 4, 4), np.float32)], axis=1)
    with pytest.raises(InputError, match="channel 1 of target is constant"):
        write(tmp_path / "s", fields=rows_of(SOURCE, flat, rows=4))
    assert list(tmp_path.iterdir()) == []


def test_rows_outside_are_refused(tmp_path):
    store = write(tmp_path / "store")
    for row in (-1, 25):
        with pytest.raises(IndexError):
            store.pairs([0, row])


def test_few_maps_are_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("crossflow.store.most_maps", lambda: 2)
    store = write(tmp_path / "store", shard_rows=3)
    rows = RNG.permutation(25)
    assert (store.read("source", rows, [0] * 25) == SOURCE[rows]).all()
    assert (store.read("target", rows, [0] * 25) == TARGET[rows]).all()
    assert len(store._maps) == 2


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
