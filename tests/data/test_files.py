"""What lies in folders, under which names; what lists name; folders of weights."""

import unicodedata

import pytest
from pydantic import BaseModel

from benchmarks.data.files import first_few, list_files, optional, read_form, require_listed
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
    listing = list_files(tmp_path, (".jpg",))
    assert list(listing.files) == ["a"]
    assert listing.left_out == 2


def test_two_files_of_one_name(tmp_path):
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png would share one prediction name"):
        list_files(tmp_path, (".jpg", ".png"))


def test_names_are_in_one_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café/é.jpg") for form in ("NFC", "NFD"))
    assert composed != decomposed
    touch(tmp_path / decomposed)
    assert list(list_files(tmp_path, (".jpg",)).files) == [composed.removesuffix(".jpg")]


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
        ("{", r"f\.json: not JSON"),
        ("[" * 200_000, r"f\.json: not JSON"),
        ('[{"a": ' + "1" * 5000 + "}]", r"f\.json: not JSON"),  # a number Python does not read
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
