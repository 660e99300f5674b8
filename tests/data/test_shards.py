"""Tars as img2dataset and timm write them, and the ways in which they are broken."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks.data.images import image_size, read_rgb
from benchmarks.data.photos import imagenet, load_photo
from benchmarks.data.shards import samples
from crossflow.errors import InputError


def listed(folder):
    return list(samples(folder, "needed"))


RNG = np.random.default_rng(0)


def encoded(suffix, height=40, width=48, **options):
    file = io.BytesIO()
    kind = {"jpg": "JPEG", "jpeg": "JPEG"}.get(suffix, suffix.upper())
    picture = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def tar(path, files, **options):
    """A tar of `files`, names and contents in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def sample(key, suffix="jpg", **more):
    return [(f"{key}.{suffix}", encoded(suffix)), *((f"{key}.{k}", v) for k, v in more.items())]


def test_images_and_captions_of_several_archives(tmp_path):
    card = json.dumps({"caption": " a cat\n", "width": 48}).encode()
    long = "d" * 150  # beyond the 100 characters of a plain header
    first = [*sample("00001", txt="ein Hund, größer".encode()), *sample("00000", "JPEG", json=card)]
    second = [*sample("x/y", "png", cls=b"3"), *sample(f"x/{long}", "webp", txt=b"b", json=card)]
    tar(tmp_path / "train" / "00000.tar", first)
    tar(tmp_path / "train" / "00001.tar", second)
    found = listed(tmp_path / "train")
    assert [s.key for s in found] == ["00001", "00000", "x/y", f"x/{long}"]
    assert [s.caption() for s in found[:2]] == ["ein Hund, größer", "a cat"]
    assert found[3].caption() == "b"  # .txt before .json
    contents = dict(first + second)
    for one in found:
        assert one.image.read_bytes() == contents[one.image.name]
        assert image_size(one.image) == (48, 40)
    expected = np.array(Image.open(io.BytesIO(contents["x/y.png"])))
    assert (read_rgb(found[2].image) == expected).all()
    with pytest.raises(InputError, match=r"x/y\.png: no caption"):
        found[2].caption()


def test_photos_are_those_of_folders(tmp_path):
    """Same ids, same pixels, the same limit, small ones counted: from files and from tars."""
    files = [(f"n0/img_{k}.JPEG", encoded("jpg", 30 + 3 * k, 64)) for k in range(9)]
    for name, content in files:
        path = tmp_path / "folders" / "val" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tar(tmp_path / "tars" / "val" / "a.tar", files[:5])
    tar(tmp_path / "tars" / "val" / "b.tar", files[5:])
    for limit in (None, 4):
        one = imagenet(tmp_path / "folders", "val", 40, limit)
        other = imagenet(tmp_path / "tars", "val", 40, limit, "webdataset")
        assert one.too_small == other.too_small != []
        for a, b in zip(one.photos, other.photos, strict=True):
            assert a.id == b.id
            pictures = (load_photo(photo, 32, 4)[1] for photo in (a, b))
            assert (next(pictures) == next(pictures)).all()
            assert a.path.stat().st_size == b.path.stat().st_size


def test_a_missing_split_is_never_replaced(tmp_path):
    tar(tmp_path / "train" / "a.tar", sample("a"))
    with pytest.raises(InputError, match=r"val split needs .*val/\*\.tar, none was found"):
        imagenet(tmp_path, "val", 8, layout="webdataset")


BAD = {
    "one.tar:a.jpg and .*two.tar:a.jpeg would share one": [sample("a"), sample("a", "jpeg")],
    "would share one prediction name": [[*sample("a"), *sample("b"), *sample("a", "png")]],
    "a.JPG: duplicate file name": [[*sample("a", "jpg"), ("a.JPG", b"")]],
    "sample a has 0 images": [[("a.v2.jpg", b"the key ends at the first dot")]],
    "sample a has 2 images": [[*sample("a"), *sample("a", "png")]],
    "not a plain file in the archive's folder": [[*sample("../../a")]],
    "no picture was found": [[]],
    r"one\.tar:a\.jpg: not an image": [[("a.jpg", b"hello")]],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_samples_are_refused(tmp_path, message):
    for name, files in zip(("one.tar", "two.tar"), BAD[message], strict=False):
        tar(tmp_path / "train" / name, files)
    with pytest.raises(InputError, match=message):
        imagenet(tmp_path, "train", 8, layout="webdataset")


def test_links_are_refused(tmp_path):
    path = tar(tmp_path / "val" / "a.tar", sample("a"))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match=r"a\.tar: b\.jpg is not a plain file"):
        listed(tmp_path / "val")


def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path):
    path = tar(tmp_path / "val" / "a.tar", [*sample("a"), *sample("b", txt=b"text")])
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + 512  # of the last file; what follows marks the end of the archive
    cuts = (end, end + 100, end - 1, last.offset_data, last.offset, last.offset - 100, 700, 1, 0)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"a\.tar: truncated"):
            listed(tmp_path / "val")
    path.write_bytes(whole[: end + 512])
    assert len(listed(tmp_path / "val")) == 2


def test_a_damaged_header_does_not_end_the_archive_in_silence(tmp_path):
    path = tar(tmp_path / "val" / "a.tar", [*sample("a"), *sample("b")])
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1]
    content = bytearray(path.read_bytes())
    content[second.offset + 10] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"truncated or damaged, no end of archive"):
        listed(tmp_path / "val")


def test_a_compressed_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(InputError, match="not an uncompressed tar"):
        listed(tmp_path)


def test_files_that_begin_with_a_dot_are_skipped(tmp_path):
    files = [("._a.jpg", b"fork"), ("./b/._a.jpg", b"fork"), (".c/a.jpg", b"x"), *sample("./b/a")]
    tar(tmp_path / "a.tar", [*files, ("README", b"no sample")])
    assert [found.key for found in listed(tmp_path)] == ["b/a"]


@pytest.mark.parametrize(
    "text", [{"txt": b"\xff"}, {"json": b"{"}, {"json": b"[]"}, {"json": b'{"caption": 1}'}]
)
def test_a_caption_that_is_none_is_refused(tmp_path, text):
    tar(tmp_path / "a.tar", sample("a", **text))
    (found,) = listed(tmp_path)
    with pytest.raises(InputError, match=r"a\.tar:a\.(txt|json): "):
        found.caption()
    tar(tmp_path / "a.tar", sample("a", json=b'{"caption": null}'))
    assert listed(tmp_path)[0].caption() == ""
