"""COCO captions as they are published: annotations/captions_<split>.json and a folder of images.

Where: https://cocodataset.org/#download. "2014 Train images" (82,783; 13 GB), "2014 Val images"
(40,504; 6 GB) and "2014 Train/Val annotations"; or the same of 2017 (118,287 and 5,000). Unpacked
into one folder, which `task.root` names, they lie as

    annotations/captions_train2014.json
    annotations/captions_val2014.json
    train2014/COCO_train2014_000000000009.jpg ...
    val2014/COCO_val2014_000000000042.jpg ...

An annotation file is one object: `images`, a list of {"id": 42, "file_name": "..."}, and
`annotations`, a list of {"id": 641613, "image_id": 42, "caption": "..."}; other keys are not
looked at. Each image has five captions, some six or seven. Ids of captions name the predictions of
text-to-image, ids of images those of captioning.

`task.split` is val2014 (default), val2017, or any other for which there is a file. It is scored;
training uses the split whose name has train for val (or test, or dev): train2014 for val2014. A
missing split is never replaced by another one. There is no test split with captions.

Other data sets in this format: `task.split_file=DIR/captions_test.json` scores that file's images
and trains on `captions_train.json` beside it; images lie in `<task.root>/<split>/` or, where that
folder does not exist, in `<task.root>/images/`.

Refused, with the file and the id: unknown keys or types, an id of an image or of a caption twice, a
caption of an unlisted image, an empty caption, an image without caption, a missing image file.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.data.captioned_photos import Collector, Split, entry, read_object
from crossflow.errors import InputError

PUBLISHED = (
    "COCO's images and annotations/captions_{train,val}{2014,2017}.json are published at "
    "https://cocodataset.org/#download"
)
DEFAULT_SPLIT = "val2014"
_SCORED = re.compile(r"(val|test|dev)(.*)")


def scored(root: Path, split: str | None, split_file: Path | None, images: bool) -> Split:
    """The split that is scored. images: whether the files of its images must be there."""
    name, file = _place(root, split, split_file)
    return _read(root, name, file, images)


def training(root: Path, split: str | None, split_file: Path | None) -> Split:
    """The training split of the same year, or of the same folder."""
    name, file = _place(root, split, split_file)
    train = "train" + _parts(name)[1]
    return _read(root, train, file.with_name(f"captions_{train}.json"), images=True)


def _place(root: Path, split: str | None, split_file: Path | None) -> tuple[str, Path]:
    """Name and annotation file of the scored split; InputError where the two disagree."""
    if split_file is None:
        name = split or DEFAULT_SPLIT
        _parts(name)
        return name, root / "annotations" / f"captions_{name}.json"
    stem = split_file.stem
    name = stem.removeprefix("captions_")
    if name == stem or split_file.suffix != ".json":
        raise InputError(
            f"task.split_file={split_file}: layout coco needs a file captions_<split>.json; "
            "task.layout=karpathy is for files like dataset_coco.json"
        )
    if split not in (None, name):
        raise InputError(f"task.split={split}: {split_file.name} is of split {name}")
    _parts(name)
    return name, split_file


def _parts(split: str) -> tuple[str, str]:
    """("val", "2014"). InputError for a training split: it must not be scored."""
    match = _SCORED.fullmatch(split)
    if match is None:
        raise InputError(
            f"task.split={split}: layout coco scores val2014, val2017 or another split that starts "
            "with val, test or dev; training uses the train split of the same name"
        )
    return match[1], match[2]


def _read(root: Path, name: str, file: Path, images: bool) -> Split:
    if not root.is_dir():
        raise InputError(f"task.root={root}: no such folder; {PUBLISHED}")
    content = read_object(file, ("images", "annotations"), PUBLISHED)
    folder = root / name if (root / name).is_dir() else root / "images"
    if images and not folder.is_dir():
        raise InputError(f"the {name} split needs images in {root / name}/; {PUBLISHED}")
    collector = Collector(file)
    for number, row in enumerate(_rows(content, "images", file)):
        where = f"{file} images[{number}]"
        image, file_name = entry(row, where, {"id": int, "file_name": str})
        collector.photo(image, folder / file_name)
    for number, row in enumerate(_rows(content, "annotations", file)):
        where = f"{file} annotations[{number}]"
        kinds = {"id": int, "image_id": int, "caption": str}
        collector.caption(*entry(row, where, kinds))
    return collector.split(name, images)


def _rows(content: dict, key: str, file: Path) -> list:
    if not isinstance(content[key], list):
        raise InputError(f"{file}: {key} is not a list")
    return content[key]
