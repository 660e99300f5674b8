"""Small data sets in published formats, made by the tests."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.tasks.depth_protocol import KITTI_SCALE, write_depth_png

DRIVES = ("2011_09_26/2011_09_26_drive_0001_sync", "2011_09_26/2011_09_26_drive_0009_sync")
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
