"""Files that users name: what is told of them, and in which words they are refused."""

import errno

import pytest

from benchmarks.config.inputs import is_file, is_folder, parse_json, read_json
from crossflow.errors import InputError


def test_there_absent_too_long_and_not_to_be_told(tmp_path):
    def refused(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    assert is_folder(tmp_path) and not is_file(tmp_path)
    for absent in ("absent", "x" * 5000):
        assert not is_file(tmp_path / absent) and not is_folder(tmp_path / absent)
    with pytest.raises(InputError, match=r"locked: Permission denied"):
        is_file(tmp_path / "locked", refused)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"9" * 5000, b"[" * 100_000])
def test_what_is_no_json_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not .* that can be read"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="here: not JSON"):
        parse_json("nothing", "here")
