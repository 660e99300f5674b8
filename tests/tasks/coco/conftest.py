"""Small captioned data sets, written in the published layouts."""

import json

import numpy as np
import pytest
from PIL import Image

NOUNS = ("dog", "cat", "bus", "horse", "plate", "train")


def photo(path, number, width=48, height=40):
    """A photograph of its own: coloured noise, coarse enough to survive JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.RandomState(number).randint(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(path, quality=95)


def sentences(number, count=5):
    noun = NOUNS[number % len(NOUNS)]
    return [f"A {noun} stands near the {NOUNS[k]} number {number}." for k in range(count)]


def coco_split(root, name, numbers, count=5):
    """One annotation file and its images, as COCO publishes them. Returns the file."""
    images, annotations = [], []
    for number in numbers:
        file = f"COCO_{name}_{number:012d}.jpg"
        photo(root / name / file, number)
        images.append({"id": number, "file_name": file, "width": 48, "height": 40})
        for k, text in enumerate(sentences(number, count)):
            annotations.append({"id": 10 * number + k, "image_id": number, "caption": text})
    path = root / "annotations" / f"captions_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    return path


def karpathy_file(root, splits):
    """dataset_coco.json over the images of `coco_split`: {number: (folder, split)}."""
    images = []
    for position, (number, (folder, split)) in enumerate(splits.items()):
        texts = [
            {"raw": text, "tokens": text.lower().split(), "sentid": 10 * number + k}
            for k, text in enumerate(sentences(number))
        ]
        file = f"COCO_{folder}_{number:012d}.jpg"
        facts = {"filepath": folder, "filename": file, "imgid": position, "cocoid": number}
        images.append(facts | {"split": split, "sentences": texts})
    path = root / "dataset_coco.json"
    path.write_text(json.dumps({"dataset": "coco", "images": images}))
    return path


@pytest.fixture
def coco_root(tmp_path):
    """24 training and 12 val images of 2014, and Karpathy's split of them (6 restval, 3 and 3)."""
    root = tmp_path / "coco"
    coco_split(root, "train2014", range(1, 25))
    coco_split(root, "val2014", range(101, 113), count=6)
    splits = dict.fromkeys(range(1, 25), ("train2014", "train"))
    parts = ["restval"] * 6 + ["val"] * 3 + ["test"] * 3
    splits |= {n: ("val2014", part) for n, part in zip(range(101, 113), parts, strict=True)}
    karpathy_file(root, splits)
    return root


@pytest.fixture
def edited():
    """edited(path, change): the JSON file of `path` after `change(content)`."""

    def edit(path, change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit
