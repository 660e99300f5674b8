"""Small data sets in published formats, made by the tests."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from benchmarks.tasks import nyu_labeled
from benchmarks.tasks.depth_protocol import KITTI_SCALE, write_depth_png

DRIVES = ("2011_09_26/2011_09_26_drive_0001_sync", "2011_09_26/2011_09_26_drive_0009_sync")
TYPES = ["kitchen", "bathroom", "kitchen", "study_room", "bathroom", "kitchen"]
OTHER_DRIVE = "2011_09_30/2011_09_30_drive_0020_sync"


def road(number, size):
    """A picture, and lidar that measures a fifth of a road that comes nearer towards the bottom."""
    height, width = size
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[0:height, 0:width]
    depth = 4 + 60 * (1 - rows / height) ** 2 + 3 * np.sin(columns / 90 + number)
    picture = np.stack([255 - 3 * depth, 120 + 40 * np.sin(columns / 90 + number), depth], -1)
    measured = (random.random(size) < 0.2) & (rows > height // 4)
    return np.clip(picture, 0, 255).astype(np.uint8), np.where(measured, depth, 0)


@pytest.fixture
def make_kitti(tmp_path):
    """make_kitti(...) -> a root in KITTI's layout with a list for each split."""

    def make(train=8, test=2, without=1, size=(375, 1242), depth_folder=".", name="kitti"):
        root = tmp_path / name
        number = 0
        for split, drives, count in (("train", DRIVES, train), ("test", (OTHER_DRIVE,), test)):
            lines = []
            for i in range(count + (without if split == "test" else 0)):
                drive = drives[i % len(drives)]
                image = f"{drive}/image_02/data/{i:010d}.png"
                depth = f"{drive.split('/')[1]}/proj_depth/groundtruth/image_02/{i:010d}.png"
                # KITTI's days differ by a few pixels in size
                shape = (size[0] + i % 2, size[1] - i % 2)
                picture, metres = road(number, shape)
                (root / image).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(root / image, compress_level=1)
                if i < count:
                    path = root / depth_folder / depth
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_depth_png(path, metres.astype(np.float32), KITTI_SCALE)
                lines.append(f"{image} {depth if i < count else 'None'} 721.5377")
                number += 1
            (root / f"eigen_{split}_files_with_gt.txt").write_text("\n".join(lines))
        return root

    return make


def write_cells(file, name, texts):
    """A cell array of texts as MATLAB v7.3 stores it: (1, N) references to columns of codes."""
    import h5py

    references = np.empty((1, len(texts)), h5py.ref_dtype)
    for i, text in enumerate(texts):
        codes = np.array([[ord(c)] for c in text], np.uint16)
        references[0, i] = file.create_dataset(f"#refs#/{name}{i}", data=codes).ref
    file.create_dataset(name, data=references, dtype=h5py.ref_dtype)


def write_labeled(root, size=(60, 80), test=(0, 3), **changes):
    """Six frames in nyu_depth_v2_labeled.mat; `changes` replaces arrays, None leaves one out."""
    h5py = pytest.importorskip("h5py")
    root.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    height, width = size
    images = random.integers(30, 256, (6, height, width, 3), dtype=np.uint8)
    depths = random.uniform(0.7, 9.9, (6, height, width)).astype(np.float32)
    depths[:, 20:25, 30:40] = 0
    arrays = {"images": images.transpose(0, 3, 2, 1), "rawDepths": depths.transpose(0, 2, 1)}
    arrays |= changes
    with h5py.File(root / nyu_labeled.DATA_FILE, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, chunks=True, compression="gzip")
        write_cells(file, "sceneTypes", TYPES)
        write_cells(file, "scenes", [f"{name}_000{i}b" for i, name in enumerate(TYPES)])
    chosen = np.array(test)[:, None] + 1
    rest = np.array([i for i in range(6) if i not in test])[:, None] + 1
    splits = {"testNdxs": chosen.astype(np.uint16), "trainNdxs": rest.astype(np.uint16)}
    savemat(root / nyu_labeled.SPLIT_FILE, splits)
    return root, images, depths


@pytest.fixture
def make_labeled():
    """make_labeled(root, ...) -> (root, pictures, depths); layout labeled of NYU Depth v2."""
    return write_labeled
