"""Karpathy's splits: dataset_coco.json, dataset_flickr8k.json, dataset_flickr30k.json.

Where: caption_datasets.zip of Karpathy and Fei-Fei (2015), "Deep visual-semantic alignments",
https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip. The images are not in
it. COCO's are those of 2014 (see `coco_reader`); `task.root` then holds

    dataset_coco.json
    train2014/COCO_train2014_000000000009.jpg ...
    val2014/COCO_val2014_000000000042.jpg ...

Flickr8k (8,000 images) and Flickr30k (31,014) come on request from their authors
(https://shannon.cs.illinois.edu/DenotationGraph/). Their images have no `filepath`: they lie in one
of `images/`, `Flicker8k_Dataset/`, `flickr30k-images/` or `flickr30k_images/` below `task.root`,
and `task.split_file=DIR/dataset_flickr8k.json` names the list.

The file is one object with `images`, a list of {"filename": "...", "imgid": 0, "split": "train",
"sentences": [{"raw": "...", "sentid": 0}, ...]}; COCO's have `filepath` (the folder) and `cocoid`
besides. Other keys are not looked at. The id of an image is `cocoid`, else `imgid`; that of a
caption is `sentid`, which is COCO's own. Captions are `raw`, as the official annotations have them;
`tokens` are not used.

`task.split` is test (default) or val. Training uses train and, where there are any, restval: for
COCO 82,783 + 30,504 = 113,287 images, val and test have 5,000 each. The counts are printed.
neuraltalk2's prepro.py makes other, random splits: do not use its files.

Refused, with the file and the id: missing keys or other types, an unknown split, an id of an image
or of a caption twice, an empty caption, an image without caption, a missing image file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.data.captioned_photos import Collector, Split, entry, read_object
from benchmarks.data.images import first_few
from crossflow.errors import InputError

FILE = "dataset_coco.json"
PUBLISHED = (
    "Karpathy's dataset_{coco,flickr8k,flickr30k}.json are published at "
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
)
DEFAULT_SPLIT = "test"
SCORED = ("val", "test")
TRAINED = ("train", "restval")
FOLDERS = ("images", "Flicker8k_Dataset", "flickr30k-images", "flickr30k_images")


def scored(root: Path, split: str | None, split_file: Path | None, images: bool) -> Split:
    """The split that is scored. images: whether the files of its images must be there."""
    name = split or DEFAULT_SPLIT
    if name not in SCORED:
        raise InputError(
            f"task.split={name}: layout karpathy scores {' or '.join(SCORED)}; train and restval "
            "are what is trained on"
        )
    return _read(root, name, (name,), split_file, images)


def training(root: Path, split: str | None, split_file: Path | None) -> Split:
    """Train and restval, whatever is scored."""
    return _read(root, "train", TRAINED, split_file, images=True)


def _read(
    root: Path, name: str, splits: tuple[str, ...], split_file: Path | None, images: bool
) -> Split:
    if not root.is_dir():
        raise InputError(f"task.root={root}: no such folder; {PUBLISHED}")
    file = split_file or root / FILE
    if split_file is None and not file.is_file():
        others = sorted(path.name for path in root.glob("dataset_*.json"))
        hint = f" (there is {first_few(others)}: name it with task.split_file)" if others else ""
        raise InputError(f"{file}: no such file{hint}; {PUBLISHED}")
    content = read_object(file, ("images",), PUBLISHED)
    if "annotations" in content:
        raise InputError(f"{file} has COCO's own format: use task.layout=coco")
    if not isinstance(content["images"], list):
        raise InputError(f"{file}: images is not a list")
    collector, folder = Collector(file), None
    seen: set[int] = set()
    for number, row in enumerate(content["images"]):
        where = f"{file} images[{number}]"
        image, part = _image(row, where)
        if image in seen:  # in any two splits: such an image would be trained on and scored
            raise InputError(f"{file}: image id {image} is there twice")
        seen.add(image)
        if part not in splits:
            continue
        file_name, sentences = entry(row, where, {"filename": str, "sentences": list})
        if "filepath" in row:
            (below,) = entry(row, where, {"filepath": str})
            collector.photo(image, root / below / file_name)
        else:
            folder = folder or _images_folder(root, images)
            collector.photo(image, folder / file_name)
        for position, sentence in enumerate(sentences):
            kinds: dict[str, type] = {"sentid": int, "raw": str}
            caption, raw = entry(sentence, f"{where}.sentences[{position}]", kinds)
            collector.caption(caption, image, raw)
    return collector.split(name, images)


def _image(row: Any, where: str) -> tuple[int, str]:
    """Id and split of an image."""
    key = "cocoid" if isinstance(row, dict) and "cocoid" in row else "imgid"
    image, part = entry(row, where, {key: int, "split": str})
    if part not in SCORED + TRAINED:
        known = ", ".join((*TRAINED, *SCORED))
        raise InputError(f"{where}: split {part!r} is unknown, there are {known}")
    return image, part


def _images_folder(root: Path, images: bool) -> Path:
    """The one folder of images. InputError where there is none or more than one."""
    found = [root / name for name in FOLDERS if (root / name).is_dir()]
    if images and len(found) != 1:
        there = "none of them is" if not found else f"{first_few([p.name for p in found])} are"
        raise InputError(
            f"{root}: need one folder of images, {' or '.join(FOLDERS)}; {there} there"
        )
    return found[0] if found else root / FOLDERS[0]
