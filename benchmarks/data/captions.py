"""Photographs with captions: COCO's own files, Karpathy's splits, and crawled pairs to train on.

`task.layout=coco`, of 2014 or 2017 (https://cocodataset.org/#download); images may also lie in
images/. `task.split` is val2014 (default) or another that starts with val, test or dev; training
uses the split whose name has train in its place.

    annotations/captions_train2014.json             {"images": [{"id", "file_name"}],
    annotations/captions_val2014.json                "annotations": [{"id", "image_id", "caption"}]}
    train2014/COCO_train2014_000000000009.jpg ...
    val2014/COCO_val2014_000000000042.jpg ...

Other data sets in this format: `task.split_file=DIR/captions_test.json`, trained on
`captions_train.json` beside it.

`task.layout=karpathy`, caption_datasets.zip of Karpathy and Fei-Fei (2015), "Deep visual-semantic
alignments", with COCO's images of 2014 in the same folders. `task.split` is test (default) or val;
training uses train and restval: 113,287 images of COCO, val and test have 5,000 each.

    dataset_coco.json   {"images": [{"filename", "filepath", "split", "cocoid" or "imgid",
                                     "sentences": [{"raw", "sentid"}]}]}

Images without `filepath` (Flickr8k, Flickr30k, named with `task.split_file`) lie in one of FOLDERS.
neuraltalk2's prepro.py makes other, random splits.

Captions are taken as they are published but for one rule: control characters, line and paragraph
separators and lone surrogates become a space, blanks at both ends go (some of COCO's hold a line
break, which the PTB tokeniser would take for the end of a caption). Those so changed are counted.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, BaseModel, Field

from benchmarks.data.captioned_photos import Caption, Photo, Split
from benchmarks.data.files import first_few, read_form, require_listed
from benchmarks.data.shards import Member, samples
from benchmarks.data.splits import Report, choose, cut, require_root
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError
from crossflow.files import is_file

if TYPE_CHECKING:
    from benchmarks.config.schema import Config

USES = ("task.root", "task.split_file", "task.layout", "task.train_root")
COCO_PUBLISHED = (
    "COCO's images and annotations/captions_{train,val}{2014,2017}.json are published at "
    "https://cocodataset.org/#download"
)
KARPATHY_PUBLISHED = (
    "Karpathy's dataset_{coco,flickr8k,flickr30k}.json are published at "
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
)
FOLDERS = ("images", "Flicker8k_Dataset", "flickr30k-images", "flickr30k_images")
START = 4096  # bytes of a JPEG that hold some of its picture
_SCORED = re.compile(r"(?:val|test|dev)(.*)")
_Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # ids are kept in 64 bits


def scored(config: Config, layout: str, report: Report, images: bool) -> Split:
    """The split whose items are scored. layout: the task's own, where none is given.

    images: whether the files of its images must be there. Says how many there are on the way.
    """
    return _told(_published(config, layout, train=False, images=images), report)


def training(config: Config, layout: str, report: Report, held_apart: Split) -> Split:
    """The training split that belongs to `held_apart`, the scored one, or `task.train_root`.

    InputError where it is missing, or where an image is in both splits.
    """
    if config.task.train_root is not None:
        split = _told(crawled(Path(config.task.train_root), held_apart.photos), report)
        counts = ", ".join(f"{name} {count}" for name, count in split.facts.items())
        report(f"task.train_root: {counts}", 1, 1)
        return split
    split = _published(config, layout, train=True, images=True)
    there = {photo.path for photo in held_apart.photos}
    if both := [photo.id for photo in split.photos if photo.path in there]:
        raise InputError(
            f"{len(both)} images are in the {split.name} split and in the {held_apart.name} split, "
            f"which is scored: {first_few(both)}"
        )
    return _told(split, report)


def validation_cut(config: Config, train: Split) -> tuple[list[Photo], list[Photo]]:
    """(trained, held out), cut by image; `task.train_limit` applies to the first alone."""
    return cut(train.photos, lambda photo: str(photo.group), config.task.train_limit, None)


def _published(config: Config, layout: str, *, train: bool, images: bool) -> Split:
    task = config.task
    read, files, published = LAYOUTS[choose("task.layout", task.layout or layout, tuple(LAYOUTS))]
    root = require_root(config, f"{files} and {{train,val}}2014/*.jpg", published)
    listed = None if task.split_file is None else Path(task.split_file)
    return read(root, task.split, listed, train=train, images=images)


def _told(split: Split, report: Report) -> Split:
    captions = sum(len(photo.captions) for photo in split.photos)
    words = f"{split.name} split: {len(split.photos)} images, {captions} captions"
    if split.cleaned:
        words += f", {split.cleaned} of them with control characters, which became spaces"
    report(words, 1, 1)
    return split


class _CocoImage(BaseModel):
    id: _Id
    file_name: str


class _CocoCaption(BaseModel):
    id: _Id
    image_id: _Id
    caption: str


class _CocoFile(BaseModel):
    images: list[_CocoImage]
    annotations: list[_CocoCaption]


def coco(
    root: Path, split: str | None, split_file: Path | None, *, train: bool, images: bool = True
) -> Split:
    """The scored split, or (train) the training split of the same year or folder.

    images: whether the files of its images must be there. InputError names file and entry.
    """
    name = split or (split_file.stem.removeprefix("captions_") if split_file else "val2014")
    file = split_file or root / "annotations" / f"captions_{name}.json"
    match = _SCORED.fullmatch(name)
    if match is None or file.name != f"captions_{name}.json":
        raise InputError(
            f"task.split={name}, {file}: layout coco scores captions_<split>.json of a split that "
            "starts with val, test or dev, and trains on the train split of the same name; "
            "task.layout=karpathy is for dataset_coco.json"
        )
    if train:
        name = f"train{match[1]}"
        file = file.with_name(f"captions_{name}.json")
    content = read_form(file, _CocoFile, COCO_PUBLISHED)
    folder = root / name if (root / name).is_dir() else root / "images"
    paths = [(image.id, folder / image.file_name) for image in content.images]
    captions = [(c.id, c.image_id, c.caption) for c in content.annotations]
    return _split(file, name, paths, captions, COCO_PUBLISHED if images else None)


class _Sentence(BaseModel):
    sentid: _Id
    raw: str


class _KarpathyImage(BaseModel):
    id: _Id = Field(validation_alias=AliasChoices("cocoid", "imgid"))
    split: Literal["train", "restval", "val", "test"]
    filename: str
    filepath: str | None = None
    sentences: list[_Sentence]


class _KarpathyFile(BaseModel):
    images: list[_KarpathyImage]


def karpathy(
    root: Path, split: str | None, split_file: Path | None, *, train: bool, images: bool = True
) -> Split:
    """The scored split, or (train) train and restval, whatever is scored. See `coco`."""
    name = split or "test"
    if name not in ("val", "test"):
        raise InputError(f"task.split={name}: layout karpathy scores val or test, trains on others")
    file = split_file or root / "dataset_coco.json"
    if not is_file(file) and (others := sorted(path.name for path in root.glob("dataset_*.json"))):
        raise InputError(f"{file}: no such file; name {first_few(others)} with task.split_file")
    rows = read_form(file, _KarpathyFile, KARPATHY_PUBLISHED).images
    # In any two splits: such an image would be trained on and scored.
    _refuse(file, "image ids are there twice", _repeated(row.id for row in rows))
    rows = [row for row in rows if row.split in (("train", "restval") if train else (name,))]
    here = [root / folder for folder in FOLDERS if (root / folder).is_dir()]
    if images and len(here) != 1 and any(row.filepath is None for row in rows):
        raise InputError(f"{root}: need one folder of {', '.join(FOLDERS)}; has {len(here)}")
    paths = [
        (row.id, (root / row.filepath if row.filepath else [*here, root][0]) / row.filename)
        for row in rows
    ]
    captions = [(c.sentid, row.id, c.raw) for row in rows for c in row.sentences]
    name = "train" if train else name
    return _split(file, name, paths, captions, KARPATHY_PUBLISHED if images else None)


Reader = Callable[..., Split]
LAYOUTS: dict[str, tuple[Reader, str, str]] = {
    "coco": (coco, "annotations/captions_{train,val}2014.json", COCO_PUBLISHED),
    "karpathy": (karpathy, "dataset_coco.json", KARPATHY_PUBLISHED),
}


def _split(
    file: Path,
    name: str,
    paths: Sequence[tuple[int, Path]],
    captions: Sequence[tuple[int, int, str]],
    published: str | None,
) -> Split:
    """Photographs (id, path) with captions (id, id of the photograph, text), each by id.

    published: where missing images are to be had, None where they need not be there. InputError:
    ids twice, captions empty or of unlisted photographs, photographs without caption or file.
    """
    if not paths:
        raise InputError(f"{file}: the {name} split has no images")
    texts = {number: clean_caption(raw) for number, _, raw in captions}
    listed, spoken_of = {number for number, _ in paths}, {image for _, image, _ in captions}
    _refuse(file, "image ids are there twice", _repeated(number for number, _ in paths))
    _refuse(file, "caption ids are there twice", _repeated(number for number, *_ in captions))
    unlisted = [number for number, image, _ in captions if image not in listed]
    _refuse(file, "captions are of no listed image", unlisted)
    empty = [number for number, text in texts.items() if not text.strip()]
    _refuse(file, "captions are empty", empty)
    _refuse(file, "images have no caption", listed - spoken_of)
    of_image: dict[int, list[Caption]] = defaultdict(list)
    for number, image, _ in sorted(captions):
        of_image[image].append(Caption(number, texts[number].strip()))
    if published is not None:
        require_listed([path for _, path in paths], f"images of the {name} split", published)
    photos = [Photo(number, path, tuple(of_image[number])) for number, path in sorted(paths)]
    return Split(name, photos, sum(texts[number] != raw for number, _, raw in captions))


def _refuse(file: Path, what: str, offenders: Iterable[int]) -> None:
    if numbers := sorted(offenders):
        raise InputError(f"{file}: {len(numbers)} {what}: {first_few(numbers)}")


def _repeated(ids: Iterable[int]) -> list[int]:
    return [number for number, count in Counter(ids).items() if count > 1]


def crawled(folder: Path, scored: Sequence[Photo]) -> Split:
    """Image-text pairs of `folder`/*.tar, one caption each, to train on: see `shards`.

    Ids count the pairs, in the order of the archives' names and of their files: keys may repeat
    from archive to archive. Left out and counted in `facts`: pairs without a caption (img2dataset
    writes an empty file), and pairs whose image file is that of a photograph of `scored`, byte for
    byte. **The same picture in another file is not noticed**: a crawl can hold scored pictures.
    """
    alike: dict[tuple[int, bytes], list[Photo]] = defaultdict(list)
    for photo in scored:
        alike[_start(photo.path)].append(photo)
    photos: list[Photo] = []
    first: dict[tuple[int, bytes], int] = {}  # number of the first pair with such an image
    cleaned = empty = shared = 0
    for number, pair in enumerate(samples(folder, "task.train_root")):
        start = _start(pair.image)
        if any(pair.image.read_bytes() == p.path.read_bytes() for p in alike.get(start, ())):
            shared += 1
        elif text := clean_caption(raw := pair.caption()).strip():
            cleaned += text != raw
            group = first.setdefault(start, number)
            photos.append(Photo(number, pair.image, (Caption(number, text),), crawled_as=group))
        else:
            empty += 1
    facts = {"pairs": len(photos), "left_out_scored_files": shared, "left_out_no_caption": empty}
    if not photos:
        raise InputError(f"task.train_root={folder}: no pair is left to train on: {facts}")
    return Split("train", photos, cleaned, facts)


def _start(path: Path | Member) -> tuple[int, bytes]:
    """Size and first bytes of a file: most files differ there."""
    if isinstance(path, Member):
        start = path.read_bytes(START)
    else:
        with path.open("rb") as file:
            start = file.read(START)
    return path.stat().st_size, hashlib.sha256(start).digest()
