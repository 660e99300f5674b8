"""Pictures to pictures: `task.root` holds {train,val,test}/{a,b}/ with equal names; from a to b.

Pictures are cropped to their centre square and resized to `task.size`. The floor is a itself.
"""

from typing import Any

import numpy as np

from benchmarks.codecs.image import checked_size
from benchmarks.data.files import first_few, list_files
from benchmarks.data.images import PHOTO_MODES, centre_square, read_rgb, spread
from benchmarks.data.photos import SUFFIXES
from benchmarks.data.splits import choose, digest, refuse_shared, require_root
from benchmarks.tasks.picture_pairs import PicturePairs, PictureTranslation
from crossflow.errors import InputError

DEFAULTS = {"split": "test", "size": 64}
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


class PairedPictures(PicturePairs):
    def __init__(self, task: PictureTranslation[Any], name: str) -> None:
        given = task.config.task
        choose("task.split", given.split, ("test",))
        root = require_root(task.config, "{train,val,test}/{a,b}/", "equal names are pairs")
        folder, limit = root / FOLDERS[name], "limit" if name == "test" else f"{name}_limit"
        a, b = (list_files(folder / side, SUFFIXES) for side in "ab")
        if a.files.keys() != b.files.keys() or not a.files:
            alone = first_few(sorted(a.files.keys() ^ b.files.keys())) or "no picture"
            raise InputError(f"{folder}: a and b must hold equal names; in one alone: {alone}")
        ids = spread(sorted(a.files), getattr(given, limit))
        super().__init__(task, name, ids, a.left_out + b.left_out)
        self.files = [(a.files[item], b.files[item]) for item in ids]
        pairs = [digest(a.read_bytes(), b.read_bytes()) for a, b in self.files]
        self.id_of = dict(zip(pairs, self.ids, strict=True))
        shared = self.id_of.keys() & (task.test.id_of if name != "test" else ())
        refuse_shared(sorted(self.id_of[pair] for pair in shared), f"pairs of {folder}")
        self.pixels = {"size": checked_size(task.config), "border": self.border}
        self.content = {"items": digest("\n".join(self.ids)), "truth": digest(*pairs)}

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        a, b = (read_rgb(path, PHOTO_MODES) for path in self.files[index])
        if abs(a.shape[1] / a.shape[0] - b.shape[1] / b.shape[0]) > 0.02:  # more than rounding
            raise InputError(f"{self.ids[index]}: a is {a.shape}, b {b.shape}: crops would not fit")
        return centre_square(a, self.pixels["size"]), centre_square(b, self.pixels["size"])

    def facts(self) -> dict[str, Any]:
        facts = {**self.content, "size": self.pixels["size"], **self.task.space.frozen}
        return {"part": self.name, **facts, "train": self.task.train.content}


class PairedFolder(PictureTranslation[PairedPictures]):
    version = 1

    def items(self, part: str) -> PairedPictures:
        return PairedPictures(self, part)


TASK = PairedFolder
