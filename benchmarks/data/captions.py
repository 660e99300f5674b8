"""Photographs with captions: COCO's own files, Karpathy's splits, and crawled pairs to train on.

`task.layout=coco`, from https://cocodataset.org/#download, of 2014 or 2017:

    annotations/captions_train2014.json             {"images": [{"id", "file_name"}],
    annotations/captions_val2014.json                "annotations": [{"id", "image_id", "caption"}]}
    train2014/COCO_train2014_000000000009.jpg ...   or all images in images/
    val2014/COCO_val2014_000000000042.jpg ...

`task.split` is val2014 (default) or another that starts with val, test or dev. Training uses the
split whose name has train in its place; no other one replaces it. Other data sets in this format:
`task.split_file=DIR/captions_test.json`, trained on `captions_train.json` beside it.

`task.layout=karpathy`, caption_datasets.zip of Karpathy and Fei-Fei (2015), "Deep visual-semantic
alignments", with COCO's images of 2014 in the same folders:

    dataset_coco.json   {"images": [{"filename", "filepath", "split", "cocoid" or "imgid",
                                     "sentences": [{"raw", "sentid"}]}]}

`task.split` is test (default) or val; training uses train and restval: 113,287 images of COCO, val
and test have 5,000 each. Images without `filepath` (Flickr8k, Flickr30k, named with
`task.split_file`) lie in one of FOLDERS. neuraltalk2's prepro.py makes other, random splits.

Captions are taken as they are published but for one rule: control characters, line and paragraph
separators and lone surrogates become a space, blanks at both ends go (some of COCO's hold a line
break, which the PTB tokeniser would take for the end of a caption). Those so changed are counted.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.captioned_photos import Caption, Photo, Split
from benchmarks.data.files import find_listed, first_few
from benchmarks.data.shards import Member, samples
from benchmarks.data.splits import Report, choose, cut, require_root
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError
from crossflow.files import is_file, read_json

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
_LARGEST = 2**63  # ids are kept in 64 bits


def scored(config: Config, layout: str, report: Report, images: bool) -> Split:
    """The split whose items are scored. layout: the task's own, where none is given.

    images: whether the files of its images must be there. Says how many there are on the way.
    """
    split = _published(config, layout, train=False, images=images)
    _tell(split, report)
    return split


def training(config: Config, layout: str, report: Report, held_apart: Split) -> Split:
    """The training split that belongs to `held_apart`, the scored one, or `task.train_root`.

    InputError where it is missing, or where an image is in both splits. What is left out of
    `task.train_root` is counted: see `crawled`.
    """
    if config.task.train_root is not None:
        split = crawled(Path(config.task.train_root), held_apart.photos)
        _tell(split, report)
        counts = ", ".join(f"{name} {count}" for name, count in split.facts.items())
        report(f"task.train_root: {counts}", 1, 1)
        return split
    split = _published(config, layout, train=True, images=True)
    there = {photo.path for photo in held_apart.photos}
    both = [photo.id for photo in split.photos if photo.path in there]
    if both:
        raise InputError(
            f"{len(both)} images are in the {split.name} split and in the {held_apart.name} split, "
            f"which is scored: {first_few(both)}"
        )
    _tell(split, report)
    return split


def validation_cut(config: Config, train: Split) -> tuple[list[Photo], list[Photo]]:
    """(trained, held out), cut by image; `task.train_limit` applies to the first alone."""
    return cut(train.photos, lambda photo: str(photo.group), config.task.train_limit, None)


def _published(config: Config, layout: str, *, train: bool, images: bool) -> Split:
    task = config.task
    read, files, published = LAYOUTS[choose("task.layout", task.layout or layout, tuple(LAYOUTS))]
    root = require_root(config, f"{files} and {{train,val}}2014/*.jpg", published)
    listed = None if task.split_file is None else Path(task.split_file)
    return read(root, task.split, listed, train=train, images=images)


def _tell(split: Split, report: Report) -> None:
    captions = sum(len(photo.captions) for photo in split.photos)
    words = f"{split.name} split: {len(split.photos)} images, {captions} captions"
    if split.cleaned:
        words += f", {split.cleaned} of them with control characters, which became spaces"
    report(words, 1, 1)


def coco(
    root: Path, split: str | None, split_file: Path | None, *, train: bool, images: bool = True
) -> Split:
    """The scored split, or (train) the training split of the same year or folder.

    images: whether the files of its images must be there. InputError names file and entry.
    """
    name = split or "val2014"
    file = root / "annotations" / f"captions_{name}.json"
    if split_file is not None:
        file, name = split_file, split_file.stem.removeprefix("captions_")
        if file.name != f"captions_{name}.json" or split not in (None, name):
            raise InputError(
                f"task.split_file={file}: layout coco needs a file captions_<split>.json, of "
                "task.split where that is given; task.layout=karpathy is for dataset_coco.json"
            )
    match = _SCORED.fullmatch(name)
    if match is None:
        raise InputError(
            f"task.split={name}: layout coco scores val2014, val2017 or another split that starts "
            "with val, test or dev; training uses the train split of the same name"
        )
    if train:
        name = f"train{match[1]}"
        file = file.with_name(f"captions_{name}.json")
    photos, texts = _rows(file, ("images", "annotations"), COCO_PUBLISHED)
    folder = root / name if (root / name).is_dir() else root / "images"
    paths = [
        (number, folder / file_name)
        for number, file_name in _entries(photos, f"{file} images", {"id": int, "file_name": str})
    ]
    kinds = {"id": int, "image_id": int, "caption": str}
    captions = _entries(texts, f"{file} annotations", kinds)
    return _split(file, name, paths, captions, COCO_PUBLISHED if images else None)


def karpathy(
    root: Path, split: str | None, split_file: Path | None, *, train: bool, images: bool = True
) -> Split:
    """The scored split, or (train) train and restval, whatever is scored. See `coco`."""
    name = split or "test"
    parts = ("train", "restval") if train else (name,)
    if name not in ("val", "test"):
        raise InputError(f"task.split={name}: layout karpathy scores val or test, trains on others")
    file = split_file or root / "dataset_coco.json"
    if not is_file(file) and (others := sorted(path.name for path in root.glob("dataset_*.json"))):
        raise InputError(f"{file}: no such file; name {first_few(others)} with task.split_file")
    (photos,) = _rows(file, ("images",), KARPATHY_PUBLISHED)
    here = [root / name for name in FOLDERS if (root / name).is_dir()]
    paths, captions, every = [], [], []
    for number, row in enumerate(photos):
        where = f"{file} images[{number}]"
        key = "cocoid" if isinstance(row, dict) and "cocoid" in row else "imgid"
        image, part = _entry(row, where, {key: int, "split": str})
        every.append(image)
        if part not in parts:
            choose(f"{where}: split", part, ("train", "restval", "val", "test"))
            continue
        file_name, sentences = _entry(row, where, {"filename": str, "sentences": list})
        if "filepath" in row:
            folder = root / _entry(row, where, {"filepath": str})[0]
        elif images and len(here) != 1:
            raise InputError(f"{root}: need one folder of {', '.join(FOLDERS)}; has {len(here)}")
        else:
            folder = here[0] if here else root
        paths.append((image, folder / file_name))
        kinds = {"sentid": int, "raw": str}
        rows = _entries(sentences, f"{where}.sentences", kinds)
        captions += [(caption, image, raw) for caption, raw in rows]
    # In any two splits: such an image would be trained on and scored.
    _refuse(file, "image ids are there twice", _repeated(every))
    name = "train" if train else name
    return _split(file, name, paths, captions, KARPATHY_PUBLISHED if images else None)


Reader = Callable[..., Split]
LAYOUTS: dict[str, tuple[Reader, str, str]] = {
    "coco": (coco, "annotations/captions_{train,val}2014.json", COCO_PUBLISHED),
    "karpathy": (karpathy, "dataset_coco.json", KARPATHY_PUBLISHED),
}


def _rows(file: Path, keys: Sequence[str], published: str) -> list[Any]:
    """The lists under `keys` of a JSON file. InputError that names it otherwise."""
    if not is_file(file):
        raise InputError(f"{file}: no such file; {published}")
    content = read_json(file)
    rows = [content.get(key) if isinstance(content, dict) else None for key in keys]
    if not all(isinstance(row, list) for row in rows):
        raise InputError(f"{file}: needs an object with lists of {' and '.join(keys)}; {published}")
    return rows


def _entries(rows: Sequence[Any], where: str, kinds: dict[str, type]) -> list[Any]:
    return [_entry(row, f"{where}[{number}]", kinds) for number, row in enumerate(rows)]


def _entry(row: Any, where: str, kinds: dict[str, type]) -> list[Any]:
    """The values of `kinds` in a JSON object; InputError: missing, of another type, too large."""
    for key, kind in kinds.items():
        value = row.get(key) if isinstance(row, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{where}: {key} is {value!r}, not of type {kind.__name__}")
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise InputError(f"{where}: {key} is {value}, beyond 64 bits")
    return [row[key] for key in kinds]


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
    texts: dict[int, list[Caption]] = {number: [] for number, _ in paths}
    _refuse(file, "image ids are there twice", _repeated([number for number, _ in paths]))
    _refuse(file, "caption ids are there twice", _repeated([number for number, *_ in captions]))
    _refuse(
        file, "captions are of no listed image", [n for n, of, _ in captions if of not in texts]
    )
    cleaned = 0
    for number, photo, raw in captions:
        text = clean_caption(raw)
        cleaned += text != raw
        texts[photo].append(Caption(number, text.strip()))
    empty = [caption.id for several in texts.values() for caption in several if not caption.text]
    _refuse(file, "captions are empty", empty)
    _refuse(
        file, "images have no caption", sorted(n for n, several in texts.items() if not several)
    )
    files = [path for _, path in paths]
    if published is not None:
        files = find_listed(files, f"images of the {name} split", published)
    numbered = sorted((number, path) for (number, _), path in zip(paths, files, strict=True))
    photos = [Photo(n, path, tuple(sorted(texts[n], key=lambda c: c.id))) for n, path in numbered]
    return Split(name, photos, cleaned)


def _refuse(file: Path, what: str, offenders: Sequence[int]) -> None:
    if offenders:
        raise InputError(f"{file}: {len(offenders)} {what}: {first_few(sorted(offenders))}")


def _repeated(ids: Sequence[int]) -> list[int]:
    return [number for number, count in Counter(ids).items() if count > 1]


def crawled(folder: Path, scored: Sequence[Photo]) -> Split:
    """Image-text pairs of `folder`/*.tar, one caption each, to train on: see `shards`.

    Ids count the pairs, in the order of the archives' names and of their files: keys may repeat
    from archive to archive. Left out and counted in `facts`: pairs without a caption (img2dataset
    writes an empty file), and pairs whose image file is that of a photograph of `scored`, byte for
    byte. **The same picture in another file is not noticed**: a crawl can hold scored pictures.
    """
    alike: dict[int, list[Photo]] = defaultdict(list)
    for photo in scored:
        alike[photo.path.stat().st_size].append(photo)
    kept: list[Photo] = []
    first: dict[tuple[int, bytes], int] = {}  # number of the first pair with such an image
    cleaned = empty = shared = 0
    for number, pair in enumerate(samples(folder, "task.train_root")):
        size, start = pair.image.st_size, _start(pair.image)
        same_start = (p for p in alike.get(size, ()) if _start(p.path) == start)
        if any(pair.image.read_bytes() == photo.path.read_bytes() for photo in same_start):
            shared += 1
            continue
        raw = pair.caption()
        text = clean_caption(raw).strip()
        if not text:
            empty += 1
            continue
        cleaned += text != raw
        group = first.setdefault((size, hashlib.sha256(start).digest()[:16]), number)
        kept.append(Photo(number, pair.image, (Caption(number, text),), crawled_as=group))
    facts = {"pairs": len(kept), "left_out_scored_files": shared, "left_out_no_caption": empty}
    if not kept:
        raise InputError(f"task.train_root={folder}: no pair is left to train on: {facts}")
    return Split("train", kept, cleaned, facts)


def _start(path: Path | Member) -> bytes:
    """The first bytes of a file: most that are of one size differ there."""
    if isinstance(path, Member):
        return path.read_bytes(START)
    with path.open("rb") as file:
        return file.read(START)
