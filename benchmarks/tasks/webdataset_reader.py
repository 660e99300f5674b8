"""WebDataset: samples in plain tar files, as img2dataset writes LAION and timm ImageNet.

`task.root` holds train/*.tar and val/*.tar. Files of one sample follow one another and share the
name before the first dot, their key:

    train/00000.tar:  000000000.jpg  000000000.txt  000000000.json  000000001.jpg ...

The image is .jpg, .jpeg, .png or .webp; the caption is .txt, else "caption" of .json; other files
(.cls) are not looked at. Keys name the predictions, so they are unique in a split. The archives are
not compressed and not unpacked: their headers are read once, then every file by its offset.

`task.train_root` of the tasks with captions holds the archives themselves, as img2dataset writes
them (`captioned`).
"""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmarks.metrics.captions_java import clean_caption
from benchmarks.tasks import imagenet_reader
from benchmarks.tasks.captioned_photos import Caption, Photo, Split
from benchmarks.tasks.tar_member import Member, Tar
from crossflow.errors import InputError

SPLITS = ("train", "val")
IMAGES = ("jpg", "jpeg", "png", "webp")
BLOCK = 512  # bytes: headers and the marks at the end of a tar
START = 4096  # bytes of a JPEG that hold some of its picture


@dataclass(frozen=True, slots=True)
class Sample:
    """One key. text: its .txt, else its .json, if there is one."""

    key: str
    image: Member
    text: Member | None


def samples(root: Path, split: str) -> list[Sample]:
    """Samples of a split, in the order of the archives' names and of their files.

    Raises InputError for a missing split, a truncated or damaged archive, a key twice, a sample
    without image or with two.
    """
    if split not in SPLITS:
        raise InputError(f"task.split={split}: the splits of layout webdataset are train and val")
    return in_folder(root / split, f"task.layout=webdataset: the {split} split")


def in_folder(folder: Path, what: str) -> list[Sample]:
    """Samples of the archives of one folder. what: begins the message where there are none."""
    archives = sorted(folder.glob("[!.]*.tar"))
    if not archives:
        raise InputError(f"{what} needs {folder}/*.tar, none was found")
    found: dict[str, Sample] = {}
    for path in archives:
        for sample in _samples_of(path):
            if sample.key in found:
                where = f"{found[sample.key].image} and {sample.image}"
                raise InputError(f"{where} share one key: keys name the predictions")
            found[sample.key] = sample
    if not found:
        raise InputError(f"{folder}: {len(archives)} archives, no sample in them")
    return list(found.values())


def captioned(folder: Path, scored: Sequence[Photo]) -> tuple[Split, int]:
    """Image-text pairs of `folder`/*.tar, one caption each, to train on; how many were left out.

    scored: photographs that are not trained on. A crawled set may hold some of them: pairs whose
    image has the very bytes of one are left out. (The same picture in another file is not noticed.)
    Ids count the pairs, in the order of `samples`. Raises InputError as `samples` and `caption` do.
    """
    alike: dict[int, list[Photo]] = defaultdict(list)
    for photo in scored:
        alike[photo.path.stat().st_size].append(photo)
    kept, cleaned, left = [], 0, 0
    for number, one in enumerate(in_folder(folder, "task.train_root")):
        if any(_same_bytes(one.image, photo.path) for photo in alike.get(one.image.st_size, ())):
            left += 1
            continue
        raw = caption(one)
        text = clean_caption(raw).strip()
        if not text:
            raise InputError(f"{one.text}: the caption holds control characters alone")
        cleaned += text != raw
        kept.append(Photo(number, one.image, (Caption(number, text),), single=True))
    if not kept:
        raise InputError(f"task.train_root={folder}: all {left} images are scored ones")
    return Split("train", kept, cleaned), left


def photos(root: Path, split: str, size: int, limit: int | None = None) -> imagenet_reader.Photos:
    """The images of a split as `imagenet_reader.photos` gives those of folders."""
    found = [imagenet_reader.Photo(sample.key, sample.image) for sample in samples(root, split)]
    return imagenet_reader.large_enough(found, size, limit, root / split)


def caption(sample: Sample) -> str:
    """The caption of a sample, without white space around it.

    InputError where there is none, it is empty, or its file is not UTF-8 or JSON.
    """
    if sample.text is None:
        raise InputError(f"{sample.image}: the sample has neither .txt nor .json for its caption")
    try:
        text = sample.text.read_bytes().decode()
        if sample.text.name.lower().endswith(".json"):
            text = json.loads(text)["caption"]
        text = text.strip()
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{sample.text}: no caption in it ({type(error).__name__}); .txt holds it, or "
            '"caption" of .json'
        ) from None
    if not text:
        raise InputError(f"{sample.text}: the caption is empty")
    return text


def _same_bytes(one: Member, other: Path | Member) -> bool:
    """Whether two files of one size are equal. Most differ in their first bytes, read first."""
    return one.head(START) == _head(other) and one.read_bytes() == other.read_bytes()


def _head(file: Path | Member) -> bytes:
    if isinstance(file, Member):
        return file.head(START)
    with file.open("rb") as opened:
        return opened.read(START)


def _samples_of(path: Path) -> Iterator[Sample]:
    files: dict[str, Member] = {}
    key = None
    for member in _members(path):
        name = PurePosixPath(member.name)
        if name.name.startswith("."):  # "._x.jpg" of macOS
            continue
        stem, _, suffix = name.name.partition(".")
        this = (name.parent / stem).as_posix()
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{member}: the name leads out of its folder")
        if this != key and files:
            yield _sample(str(key), files)
            files = {}
        key = this
        if suffix.lower() in files:
            raise InputError(f"{member} and {files[suffix.lower()].name} share one key and suffix")
        files[suffix.lower()] = member
    if files:
        yield _sample(str(key), files)


def _sample(key: str, files: dict[str, Member]) -> Sample:
    pictures = [files[suffix] for suffix in IMAGES if suffix in files]
    if len(pictures) != 1:
        names = ", ".join(member.name for member in files.values())
        tar = next(iter(files.values())).tar.path
        raise InputError(
            f"{tar}: sample {key} has {len(pictures)} images ({names}), it needs one of "
            f"{', '.join(IMAGES)}"
        )
    return Sample(key, pictures[0], files.get("txt", files.get("json")))


def _members(path: Path) -> Iterator[Member]:
    """The plain files of an archive; InputError unless it can be read to its end."""
    status = path.stat()
    tar = Tar(path, status.st_size, status.st_mtime_ns)
    end = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                end = entry.offset_data
                if entry.isreg():
                    end += -(-entry.size // BLOCK) * BLOCK
                    yield Member(tar, entry.name, entry.offset_data, entry.size)
                elif not entry.isdir():
                    raise InputError(f"{path}:{entry.name}: not a plain file")
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: truncated, or not an uncompressed tar ({error})") from None
    # tarfile stops without a word at a header it cannot read, and where the file just ends.
    with path.open("rb") as file:
        file.seek(end)
        mark = file.read(BLOCK)
    if len(mark) < BLOCK or any(mark):
        raise InputError(f"{path}: truncated or damaged, no end of archive at byte {end}")
