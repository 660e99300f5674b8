"""NYU Depth v2 from the .mat files: what BTS's converter would have written, without the JPEG."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from benchmarks.config import registry
from benchmarks.config.schema import Config
from benchmarks.data import nyu_labeled
from benchmarks.data.depth_frames import NYU, load
from benchmarks.data.predictions import write_depth
from benchmarks.records.keys import digest
from crossflow.errors import InputError


def truth_of(root, **task):
    config = Config()
    given = {"name": "depth_nyu", "root": str(root), "layout": "labeled", "split": "test"}
    for name, value in (given | {"size": 24, "crop": "eigen"} | task).items():
        setattr(config.task, name, value)
    return registry.load_task("depth_nyu")(config).test


def test_frames_are_those_of_the_converter(make_labeled, tmp_path):
    root, images, depths = make_labeled(tmp_path)
    test, train = (nyu_labeled.frames(root, split) for split in ("test", "train"))
    assert [frame.id for frame in test] == ["kitchen/rgb_00000", "study_room/rgb_00003"]
    kinds = ["bathroom/rgb_00001", "bathroom/rgb_00004", "kitchen/rgb_00002", "kitchen/rgb_00005"]
    assert [frame.id for frame in train] == kinds
    assert train[1].group == "bathroom_0004"
    picture, depth = load(train[1])
    assert (picture.shape, picture.dtype, depth.dtype) == ((60, 80, 3), np.uint8, np.float32)
    assert np.array_equal(picture[7:, 7:], images[4, 7:, 7:]), "neither turned nor mirrored"
    assert picture[:7].max() == picture[:, :7].max() == 0
    codes = np.trunc(depths[4] * np.float32(1000)).astype(np.uint16)
    assert np.array_equal(train[1].codes(), codes)
    assert np.all(depth[20:25, 30:40] == 0)
    assert np.array_equal(depth, codes.astype(np.float32) / np.float32(1000))


def test_the_frame_is_black_at_the_published_size(make_labeled, tmp_path):
    root, _, _ = make_labeled(tmp_path, size=(480, 640))
    lit = nyu_labeled.frames(root, "test")[0].picture().min(-1) > 0
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (7, 473, 7, 631)


def test_ids_agree_with_the_list_of_bts(bench_data):
    """splits.mat counts from 1, the 654 published names from 0."""
    path = bench_data / "lists/nyu/splits.mat"
    listed = (bench_data / "lists/nyu/nyudepthv2_test_files_with_gt.txt").read_text().split("\n")
    published = {line.split()[0].removesuffix(".jpg") for line in listed if line}
    types = {int(name[-5:]): name.split("/")[0] for name in published}
    indices = nyu_labeled.split_indices(path, "test", 1449)
    assert len(indices) == len(published) == 654
    assert {f"{types[i]}/rgb_{i:05d}" for i in indices} == published
    train = nyu_labeled.split_indices(path, "train", 1449)
    assert len(train) == 795
    assert not set(train) & set(indices)
    assert loadmat(path)["testNdxs"].min() == 1


def test_both_layouts_have_one_score_key(make_labeled, tmp_path):
    """The converter's files of the same frames: other files, another order, the same truth."""
    root, _, _ = make_labeled(tmp_path / "mat")
    bts = tmp_path / "bts"
    list_name, folder = NYU.lists[0].format("test"), NYU.folders["test"]
    lines = []
    for frame in reversed(nyu_labeled.frames(root, "test")):
        image = bts / folder / f"{frame.id}.jpg"
        depth = bts / folder / f"{frame.id.replace('rgb', 'sync_depth')}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.picture()).save(image)
        Image.fromarray(frame.codes()).save(depth)
        lines.append(" ".join(str(p.relative_to(bts / folder)) for p in (image, depth)))
    (bts / list_name).write_text("\n".join(lines))
    mine, theirs = truth_of(root), truth_of(bts, layout="bts")
    assert set(mine.ids) == set(theirs.ids)
    assert digest(mine.key()) == digest(theirs.key())
    assert digest(truth_of(root, crop="none").key()) != digest(mine.key())
    for name in mine.ids:
        write_depth(tmp_path / "p", name, np.full((60, 80), 3, np.float32))
    one, other = (truth.score(truth.read(tmp_path / "p")) for truth in (mine, theirs))
    assert one.scores == other.scores


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "not the published file"),
        ({"rawDepths": np.ones((6, 80, 60), np.uint16)}, "'u'.*, need .*'f'"),
        # Axes that another tool turned; read as they lie, absrel was 0.1005 where 0.1085 was right.
        ({"images": np.ones((6, 3, 60, 80), np.uint8)}, r"need .*\(6, 3, 80, 60\).*axes in this"),
        ({"test": [0, 6]}, "its indices are not those of 6 frames"),
    ],
)
def test_files_that_are_not_what_they_should_be(make_labeled, tmp_path, changes, message):
    root, _, _ = make_labeled(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        nyu_labeled.frames(root, "test")


@pytest.mark.parametrize("value", [np.nan, -0.1, 66.0])
def test_depths_that_no_code_holds(make_labeled, tmp_path, value):
    root, _, _ = make_labeled(tmp_path, rawDepths=np.full((6, 80, 60), value, np.float32))
    with pytest.raises(InputError, match=r"kitchen/rgb_00000 are not all from 0 to 65\.5 m"):
        truth_of(root).key()


def test_missing_and_broken_files(make_labeled, tmp_path):
    root, _, _ = make_labeled(tmp_path)
    for name in (nyu_labeled.SPLIT_FILE, nyu_labeled.DATA_FILE):
        (root / name).write_bytes(b"no matrix")
        with pytest.raises(InputError, match=rf"{name}: not the published file"):
            nyu_labeled.frames(root, "test")
    (root / nyu_labeled.DATA_FILE).unlink()
    with pytest.raises(InputError, match=r"1 of 2 files of .* missing: .*labeled\.mat; the list"):
        truth_of(root)


def test_fields_of_the_other_layout(make_labeled, tmp_path):
    root, _, _ = make_labeled(tmp_path)
    for field, message in (
        ({"split_file": "x"}, r"task\.split_file=x: layout labeled has splits"),
        ({"layout": "zip"}, r"task\.layout=zip: this task takes bts, labeled"),
        ({"crop": "garg"}, r"task\.crop=garg: this task takes eigen, none"),
    ):
        with pytest.raises(InputError, match=message):
            truth_of(root, **field)
