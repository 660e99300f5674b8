import errno
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from crossflow.errors import InputError
from crossflow.files import json_digest
from crossflow.problem import MapShape, TokenShape
from crossflow.store import Store, unstandardise
from crossflow.store_writer import write_store

MAP, IMAGE, WORDS = MapShape(2, 4, 4), MapShape(3, 4, 4), TokenShape(6, vocabulary=50)
RNG = np.random.default_rng(0)
TARGET = RNG.normal(3, 2, (25, *MAP.sizes)).astype(np.float32)
SOURCE = RNG.integers(0, 256, (25, *IMAGE.sizes), dtype=np.uint8)
IDS = [f"ä {i}" for i in range(25)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr("crossflow.store_writer.BLOCK", 7)


def rows_of(source, target, rows=25, **fields):
    """Rows with the usual groups and ids."""
    whole = {"groups": np.arange(25) // 2, "ids": IDS, "source": source, "target": target}
    return {name: values[:rows] for name, values in whole.items()} | fields


def write(folder, *, fields=None, shapes=(IMAGE, MAP), facts=None, step=10, **options):
    fields = fields or rows_of(SOURCE, TARGET)

    def batches(start, stop):
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            yield {name: values[part] for name, values in fields.items()}

    facts = facts or {"data": "v1"}
    return write_store(folder, *shapes, facts, len(fields["ids"]), batches, **options)


def test_rows_come_back_standardised_by_channel(tmp_path):
    store = write(tmp_path / "a folder=ä, [x]" / "store")
    rows = [24, 0, 7, 7, 13]  # several blocks, out of order, one twice
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
    assert (len(store), store.ids, store.captions) == (25, IDS, 1)
    raw = unstandardise(pair.target, store.statistics["target"])
    np.testing.assert_allclose(raw.numpy(), TARGET[rows], rtol=1e-5, atol=1e-5)
    other = TARGET.copy()
    other[3, 0, 0, 0] += 1
    assert write(tmp_path / "other", fields=rows_of(SOURCE, other)).digest != store.digest
    for row in (-1, 25):
        with pytest.raises(IndexError):
            store.pairs([0, row])


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


def test_five_captions_of_a_target(tmp_path):
    words = RNG.integers(0, 50, (9, 5, 6)).astype(np.int16)
    mask = np.arange(6) < RNG.integers(1, 7, (9, 5, 1))
    fields = rows_of(words, TARGET, rows=9, mask=mask)
    store = write(tmp_path / "s", fields=fields, shapes=(WORDS, MAP))
    pair = store.pairs([8, 1, 1], [4, 0, 3])
    assert store.captions == 5
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


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_features_keep_their_scale(tmp_path, dtype):
    features = RNG.normal(4, 1, (5, 1, 6, 8)).astype(dtype)
    fields = rows_of(features, TARGET, rows=5, mask=np.ones((5, 6), dtype=bool))
    store = write(tmp_path / "s", fields=fields, shapes=(TokenShape(6, width=8), MAP))
    values = store.pairs([3]).source.values
    assert store.captions == 1
    assert values.dtype == torch.float32
    assert values.tolist() == features[3].astype(np.float32).tolist()


def test_a_stale_store_is_refused_and_says_why(tmp_path):
    digest = write(tmp_path / "store", facts={"data": "v1", "size": 64}).digest
    assert Store(tmp_path / "store", {"size": 64, "data": "v1"}).digest == digest
    assert write(tmp_path / "store", facts={"size": 64, "data": "v1"}, step=0).digest == digest
    with pytest.raises(InputError, match=r"size was 64, is 32\): delete it"):
        write(tmp_path / "store", facts={"data": "v1", "size": 32})


@pytest.mark.parametrize("field", ["target", "source", "groups", "ids"])
def test_a_flipped_bit_is_found_when_its_block_is_read(tmp_path, field):
    path = write(tmp_path / "store").folder / f"{field}.npy"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1  # in the last block
    path.write_bytes(content)
    store = Store(tmp_path / "store")
    if field != "ids":
        store.read(field, range(21), [0] * 21)
    with pytest.raises(InputError, match=rf"damaged \({field}\.npy, rows from 21 on\): delete it"):
        store.read(field, [24], [0])
    with pytest.raises(InputError, match="damaged"):
        store.check()


@pytest.mark.parametrize("fault", ["missing", "short", "empty", "no array"])
def test_a_file_that_is_not_what_was_written_is_one_line(tmp_path, fault):
    path = write(tmp_path / "store").folder / "target.npy"
    contents = {"short": path.read_bytes()[:-40], "empty": b"", "no array": b"\x93NUMPY"}
    path.unlink() if fault == "missing" else path.write_bytes(contents[fault])
    with pytest.raises(InputError, match=r"damaged \(target\.npy"):
        Store(tmp_path / "store").pairs([0])


@pytest.mark.parametrize("field", ["target", "groups", "ids"])
def test_a_flipped_bit_of_a_header_is_one_line_or_changes_nothing(tmp_path, field):
    path = write(tmp_path / "store").folder / f"{field}.npy"
    whole, reads = path.read_bytes(), lambda: Store(tmp_path / "store").read(field, [0, 24], [0, 0])
    right = reads().tolist()
    for bit in [8 * byte + k for byte in (7, 8, 9, 21, 22, 23, 76, 100) for k in range(8)]:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with suppress(InputError):
            values = reads()
            assert values.tolist() == right
            assert values.dtype.isnative


def test_a_changed_manifest_is_found_and_a_folder_without_one(tmp_path):
    path = write(tmp_path / "store").folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["statistics"]["target"]["mean"][0] += 1e-9
    for text in (json.dumps(manifest), path.read_text()[:-9], "[]", "3", '{"version": 1}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"damaged \(manifest\.json"):
            Store(tmp_path / "store")
    with pytest.raises(InputError, match="is not a store"):
        Store(tmp_path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)


def of_version_1(path):
    manifest = json.loads(path.read_text()) | {"version": 1}
    del manifest["check"]
    path.write_text(json.dumps(manifest | {"check": json_digest(manifest)}))


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("target.npy", flipped, "target.npy, rows from 21 on"),
        ("source.npy", Path.unlink, "source.npy is no array that was written"),
        ("manifest.json", of_version_1, "manifest.json is not whole, or of another version"),
        ("manifest.json", Path.unlink, "manifest.json is not whole, or of another version"),
    ],
)
def test_a_damaged_or_old_store_is_put_aside_and_written_again(
    tmp_path, capsys, name, change, what
):
    whole = {p.name: p.read_bytes() for p in write(tmp_path / "s").folder.iterdir()}
    for number in (1, 2):
        change(tmp_path / "s" / name)
        assert {p.name: p.read_bytes() for p in write(tmp_path / "s").folder.iterdir()} == whole
        told = f"{tmp_path}/s is damaged ({what}): put aside as s.damaged-{number}, made again\n"
        assert capsys.readouterr().err == told
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_what_the_machine_lacks_puts_no_sound_store_aside(tmp_path, monkeypatch, error):
    write(tmp_path / "s")

    def failing(*args, **options):
        raise error

    monkeypatch.setattr(np, "load", failing)
    with pytest.raises(type(error)):
        write(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_manifest_that_may_not_be_read_puts_no_store_aside(tmp_path, monkeypatch):
    write(tmp_path / "s")

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(PermissionError):
        write(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
