"""What lies in folders and tars, under which names; what lists name; what is damaged."""

import io
import tarfile
import unicodedata

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from benchmarks.data.files import first_few, list_files, optional, read_form, require_listed
from benchmarks.data.files import samples as read_samples
from benchmarks.data.images import image_size, read_rgb
from benchmarks.data.photos import imagenet, load_photo
from crossflow.errors import InputError


class Row(BaseModel):
    a: int


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    return path


def test_links_are_followed_and_loops_are_not(tmp_path):
    touch(tmp_path / "elsewhere/x.jpg")
    root = tmp_path / "root"
    for name in ("a/1.jpg", "a/2.JPEG", "b.jpg"):
        touch(root / name)
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "d.jpg").symlink_to(tmp_path / "elsewhere/x.jpg")
    (root / "a/loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    listing = list_files(root, (".jpg", ".jpeg"))
    assert list(listing.files) == ["a/1", "a/2", "b", "c/x", "d"]
    assert listing.left_out == 1  # the link to itself


def test_what_begins_with_a_dot_is_skipped_and_other_suffixes_are_counted(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".cache/b.jpg", "notes.txt", "c/d.gif", "c/.DS_Store"):
        touch(tmp_path / name)
    assert list_files(tmp_path, (".jpg",)) == ({"a": tmp_path / "a.jpg"}, 2)
    assert list_files(tmp_path / "none", (".jpg",)) == ({}, 0)


def test_names_are_in_one_unicode_form_and_each_is_there_once(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café/é.jpg") for form in ("NFC", "NFD"))
    assert composed != decomposed
    touch(tmp_path / decomposed)
    assert list(list_files(tmp_path, (".jpg",)).files) == [composed.removesuffix(".jpg")]
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png would share one prediction name"):
        list_files(tmp_path, (".jpg", ".png"))


def test_missing_files_are_counted(tmp_path):
    touch(tmp_path / "a/1.jpg")
    paths = [tmp_path / name for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "x" * 300)]
    require_listed(paths[:1], "files", "published")
    with pytest.raises(InputError, match=r"3 of 4 files are missing: .*a/2\.jpg, .*; published"):
        require_listed(paths, "files", "published")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": "1"}]', r"f\.json: 1\.a: .*valid integer, not '1' \(1 faults\); whence"),
        ('[{"b": 1}]', r"f\.json: 0\.a: Field required"),
        ("3", r"f\.json: the whole: .*valid list, not 3"),
        ("[" * 200_000, r"f\.json: not JSON"),
        ("\udcff", r"f\.json: not a text file"),
        (None, r"f\.json: no such file; whence"),
    ],
)
def test_a_file_of_another_form(tmp_path, content, message):
    path = tmp_path / "f.json"
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match=message) as error:
        read_form(path, list[Row], "whence")
    assert "\n" not in str(error.value)
    path.write_text('\ufeff[{"a": 1, "b": 2}]')
    assert read_form(path, list[Row]) == [Row(a=1)]


def test_lists_in_messages_are_short():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(range(9)) == "0, 1, 2 and 6 more"


def test_a_module_that_is_not_installed_is_named_with_its_option():
    assert optional("json.decoder", "task.x").JSONDecoder
    with pytest.raises(InputError, match=r"task\.x needs no_such, .*crossflow-bench\[real\]"):
        optional("no_such.part", "task.x")


def listed(folder):
    return list(read_samples(folder, "needed"))


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
    long = "d" * 150  # beyond the 100 characters of a plain header
    first = [*sample("00001", txt="ein Hund, größer\n".encode()), *sample("00000", "JPEG")]
    second = [*sample("x/y", "png", cls=b"3"), *sample(f"x/{long}", "webp", txt=b"b", json=b"{")]
    tar(tmp_path / "train" / "00000.tar", first)
    tar(tmp_path / "train" / "00001.tar", second)
    (tmp_path / "train" / "._00001.tar").write_bytes(b"of macOS")
    found = listed(tmp_path / "train")
    assert [s.key for s in found] == ["00001", "00000", "x/y", f"x/{long}"]
    assert [found[number].caption() for number in (0, 3)] == ["ein Hund, größer", "b"]
    contents = dict(first + second)
    for one in found:
        assert one.image.read_bytes() == contents[one.image.name]
        assert image_size(one.image) == (48, 40)
    expected = np.array(Image.open(io.BytesIO(contents["x/y.png"])))
    assert (read_rgb(found[2].image) == expected).all()
    with pytest.raises(InputError, match=r"x/y\.png: no caption"):
        found[2].caption()
    tar(tmp_path / "train" / "00000.tar", sample("a", txt=b"\xff"))
    with pytest.raises(InputError, match=r"a\.txt: not UTF-8"):
        listed(tmp_path / "train")[0].caption()


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


BAD = {
    "one.tar:a.jpg and .*two.tar:a.jpeg would share one": [sample("a"), sample("a", "jpeg")],
    "a.JPG: duplicate file name": [[*sample("a", "jpg"), ("a.JPG", b"")]],
    "sample a has 0 images": [[("a.v2.jpg", b"the key ends at the first dot")]],
    "sample a has 2 images": [[*sample("a"), *sample("a", "png")]],
    "not a plain file in the archive's folder": [[*sample("../../a")]],
    "train split needs .*/train/\\*.tar, none was found": [],
    "no picture was found": [[]],
    r"one\.tar:a\.jpg: not an image": [[("a.jpg", b"hello")]],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_samples_are_refused(tmp_path, message):
    for name, files in zip(("one.tar", "two.tar"), BAD[message], strict=False):
        tar(tmp_path / "train" / name, files)
    with pytest.raises(InputError, match=message):
        imagenet(tmp_path, "train", 8, layout="webdataset")


def test_a_damaged_archive_is_refused_wherever_it_ends(tmp_path):
    path = tar(tmp_path / "val" / "a.tar", [*sample("a"), *sample("b", txt=b"text")])
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        _, second, last = archive.getmembers()
    end = last.offset_data + 512  # of the last file; what follows marks the end of the archive
    places = (end, end + 100, end - 1, last.offset_data, last.offset, last.offset - 100, 700, 1, 0)
    damaged = bytearray(whole)  # a header, at which tarfile stops in silence
    damaged[second.offset + 10] ^= 255
    for content in (*(whole[:place] for place in places), damaged):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.tar: truncated"):
            listed(tmp_path / "val")
    path.write_bytes(whole[: end + 512])
    assert len(listed(tmp_path / "val")) == 2


def test_files_that_begin_with_a_dot_are_skipped(tmp_path):
    files = [("._a.jpg", b"fork"), ("./b/._a.jpg", b"fork"), (".c/a.jpg", b"x"), *sample("./b/a")]
    tar(tmp_path / "a.tar", [*files, ("README", b"no sample")])
    assert [found.key for found in listed(tmp_path)] == ["b/a"]
