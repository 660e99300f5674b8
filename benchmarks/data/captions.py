"""Photographs with captions: COCO's own files, Karpathy's splits, and crawled pairs to train on.

`task.layout=coco`: `task.split` is val2014 (default) or another that starts with val, test or dev;
training uses the split whose name has train in its place. `task.split_file=DIR/captions_test.json`
names another data set in this format, trained on `captions_train.json` beside it.

    annotations/captions_val2014.json   {"images": [{"id", "file_name"}],
                                         "annotations": [{"id", "image_id", "caption"}]}
    val2014/COCO_val2014_000000000042.jpg ...       images may also lie in images/

`task.layout=karpathy`, of Karpathy and Fei-Fei (2015), "Deep visual-semantic alignments", with
COCO's images of 2014 in the same folders: `task.split` is test (default) or val, 5,000 images each;
training uses train and restval, 113,287. Flickr8k, Flickr30k are named with `task.split_file`.

    dataset_coco.json   {"images": [{"filename", "filepath", "split", "cocoid" or "imgid",
                                     "sentences": [{"raw", "sentid"}]}]}

Captions are taken as they are published but for one rule: control characters, line and paragraph
separators and lone surrogates become a space, blanks at both ends go (some of COCO's hold a line
break, which the PTB tokeniser would take for the end of a caption). Those so changed are counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import AliasChoices, BaseModel, Field

from benchmarks.data.files import Member, first_few, read_form, require_listed, samples, stamp_of
from benchmarks.data.images import PHOTO_MODES, OnDemand, bicubic, centre_square, read_rgb
from benchmarks.data.splits import Report, choose, digest, refuse_shared, require_root
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config

USES = ("task.root", "task.split_file", "task.layout", "task.train_root")
VARIANTS = 5  # captions of a photograph that are trained on; some have six or seven
# How pictures are prepared, in fingerprints and score keys: centre crop to the short side and
# Lanczos, as U-ViT's and CrossFlow's; or all of it, as captions also tell what is at the edges.
CROPPED, SQUASHED = "centre_square_lanczos_pil", "whole_bicubic_pil"
# Of images that Karpathy names without `filepath`.
FOLDERS = ("images", "Flicker8k_Dataset", "flickr30k-images", "flickr30k_images")
_Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # ids are kept in 64 bits


class Caption(NamedTuple):
    """A cleaned caption and its id in the annotations."""

    id: int
    text: str


class Photo(NamedTuple):
    """A photograph and all of its captions, in the order of their ids."""

    id: int
    path: Path | Member
    captions: tuple[Caption, ...]
    group: int  # one number for all pairs of an image: they are cut apart and told apart together
    variants: int = VARIANTS

    @property
    def trained(self) -> list[str]:
        """The captions of smallest id, as many as `variants`: fewer come round again."""
        return [self.captions[k % len(self.captions)].text for k in range(self.variants)]


class Split(NamedTuple):
    """Photographs in the order of their ids."""

    name: str
    photos: list[Photo]
    cleaned: int  # captions whose characters were replaced
    facts: dict[str, int]  # of crawled pairs, what is kept in records


class Pictures(OnDemand):
    """Photographs at `size` x `size`, CROPPED or SQUASHED, read when asked for."""

    def __init__(self, photos: Sequence[Photo], size: int, preparation: str) -> None:
        def make(index: int) -> np.ndarray:
            image = read_rgb(photos[index].path, PHOTO_MODES)
            if preparation == CROPPED:
                return centre_square(image, size, Image.Resampling.LANCZOS)
            return bicubic(image, (size, size))

        self.photos = photos
        super().__init__(make, len(photos))


def files_digest(photos: Iterable[Photo]) -> str:
    """Of names, sizes and times of files and of their captions: reading them takes too long."""
    stamps = (f"{p.id} {p.path.name} {stamp_of(p.path)} {captions_json([p])}" for p in photos)
    return digest("\n".join(stamps))


def captions_json(photos: Sequence[Photo]) -> str:
    """All captions with their ids, as one text."""
    return json.dumps([[photo.id, photo.captions] for photo in photos])


def scored(
    config: Config, layout: str, report: Report, *, images: bool = True, train: bool = False
) -> Split:
    """The split whose items are scored, or (train) the training split that belongs to it.

    layout: where `task.layout` is not given. images: whether their files must be there. InputError:
    ids twice, captions empty or of unlisted images, images without a caption or file.
    """
    task = config.task
    layout = choose("task.layout", task.layout or layout, tuple(LAYOUTS))
    read, looked_for, published = LAYOUTS[layout]
    root = require_root(config, f"{looked_for} and {{train,val}}2014/*.jpg", published)
    listed = None if task.split_file is None else Path(task.split_file)
    file, name, paths, captions = read(root, task.split, listed, train)
    numbers = {number for number, _ in paths}
    texts = {number: clean_caption(raw) for number, _, raw in captions}
    of_image: dict[int, list[Caption]] = defaultdict(list)
    for number, image, _ in sorted(captions):
        of_image[image].append(Caption(number, texts[number].strip()))
    unlisted = [caption.id for image in of_image.keys() - numbers for caption in of_image[image]]
    _refuse(file, "image ids are there twice", _repeated(number for number, _ in paths))
    _refuse(file, "caption ids are there twice", _repeated(number for number, *_ in captions))
    _refuse(file, "captions are of no listed image", unlisted)
    _refuse(file, "captions are empty", [c for c, text in texts.items() if not text.strip()])
    _refuse(file, "images have no caption", numbers - of_image.keys())
    if not paths:
        raise InputError(f"{file}: the {name} split has no images")
    if images:
        require_listed([path for _, path in paths], f"images of the {name} split", published)
    photos = [Photo(n, path, tuple(of_image[n]), group=n) for n, path in sorted(paths)]
    cleaned = sum(texts[number] != raw for number, _, raw in captions)
    return _told(Split(name, photos, cleaned, {}), report)


def training(config: Config, layout: str, report: Report, held_apart: Split) -> Split:
    """The training split of `held_apart`, the scored one, or the pairs of `task.train_root`."""
    if config.task.train_root is not None:
        split = _told(crawled(Path(config.task.train_root), held_apart.photos), report)
        counts = ", ".join(f"{name} {count}" for name, count in split.facts.items())
        report(f"task.train_root: {counts}", 1, 1)
        return split
    split = scored(config, layout, report, train=True)
    there = {photo.path for photo in held_apart.photos}
    refuse_shared([photo.id for photo in split.photos if photo.path in there], "images")
    return split


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


# A file, the name of its split, images (id, path), captions (id, id of the image, text).
Listed = tuple[Path, str, list[tuple[int, Path]], list[tuple[int, int, str]]]


def _coco(root: Path, split: str | None, listed: Path | None, train: bool) -> Listed:
    """The scored split, or (train) the training split of the same year or folder."""
    name = split or (listed.stem.removeprefix("captions_") if listed else "val2014")
    file = listed or root / "annotations" / f"captions_{name}.json"
    match = re.fullmatch(r"(?:val|test|dev)(.*)", name)
    if match is None or file.name != f"captions_{name}.json":
        need = "captions_<split>.json of a split that starts with val, test or dev"
        raise InputError(f"task.split={name}, {file}: layout coco scores {need}")
    if train:
        name = f"train{match[1]}"
        file = file.with_name(f"captions_{name}.json")
    content = read_form(file, _CocoFile, LAYOUTS["coco"][2])
    folder = root / name if (root / name).is_dir() else root / "images"
    images = [(image.id, folder / image.file_name) for image in content.images]
    captions = [(c.id, c.image_id, c.caption) for c in content.annotations]
    return file, name, images, captions


def _karpathy(root: Path, split: str | None, listed: Path | None, train: bool) -> Listed:
    """The scored split, or (train) train and restval, whatever is scored."""
    name = split or "test"
    if name not in ("val", "test"):
        raise InputError(f"task.split={name}: layout karpathy scores val or test, trains on others")
    file = listed or root / "dataset_coco.json"
    rows = read_form(file, _KarpathyFile, LAYOUTS["karpathy"][2]).images
    # In any two splits: such an image would be trained on and scored.
    _refuse(file, "image ids are there twice", _repeated(row.id for row in rows))
    name, parts = ("train", ("train", "restval")) if train else (name, (name,))
    rows = [row for row in rows if row.split in parts]
    folder = next(filter(Path.is_dir, (root / name for name in FOLDERS)), root)
    places = [root / row.filepath if row.filepath else folder for row in rows]
    images = [(row.id, place / row.filename) for row, place in zip(rows, places, strict=True)]
    captions = [(c.sentid, row.id, c.raw) for row in rows for c in row.sentences]
    return file, name, images, captions


# Reader, what it looks for, and where that is published.
LAYOUTS = {
    "coco": (
        _coco,
        "annotations/captions_{train,val}2014.json",
        "COCO's images and annotations/captions_{train,val}{2014,2017}.json are published at "
        "https://cocodataset.org/#download",
    ),
    "karpathy": (
        _karpathy,
        "dataset_coco.json",
        "Karpathy's dataset_{coco,flickr8k,flickr30k}.json are published at "
        "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    ),
}


def _refuse(file: Path, what: str, offenders: Iterable[int]) -> None:
    if numbers := sorted(offenders):
        raise InputError(f"{file}: {len(numbers)} {what}: {first_few(numbers)}")


def _repeated(ids: Iterable[int]) -> list[int]:
    return [number for number, count in Counter(ids).items() if count > 1]


def crawled(folder: Path, held_apart: Sequence[Photo]) -> Split:
    """Image-text pairs of `folder`/*.tar, one caption each, to train on: see `samples`.

    Ids count the pairs: keys may repeat. Left out and counted in `facts`: pairs with an empty
    caption, and pairs whose image file is that of a photograph held apart, byte for byte. **The
    same picture in another file is not noticed**: a crawl can hold scored pictures.
    """
    held = {digest(photo.path.read_bytes()) for photo in held_apart}
    photos: list[Photo] = []
    first: dict[str, int] = {}  # number of the first pair with such an image
    cleaned = empty = shared = 0
    for number, pair in enumerate(samples(folder, "task.train_root")):
        if (content := digest(pair.image.read_bytes())) in held:
            shared += 1
        elif text := clean_caption(raw := pair.caption()).strip():
            cleaned += text != raw
            captions = (Caption(number, text),)
            group = first.setdefault(content, number)
            photos.append(Photo(number, pair.image, captions, group, variants=1))
        else:
            empty += 1
    facts = {"pairs": len(photos), "left_out_scored_files": shared, "left_out_no_caption": empty}
    if not photos:
        raise InputError(f"task.train_root={folder}: no pair is left to train on: {facts}")
    return Split("train", photos, cleaned, facts)
