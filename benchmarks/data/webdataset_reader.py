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

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmarks.data import imagenet_reader
from benchmarks.data.captioned_photos import Caption, Photo, Split
from benchmarks.data.tar_member import Member, Tar
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder, parse_json

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
    folder = root / split
    return _unique(_archives(folder, f"task.layout=webdataset: the {split} split"), folder)


def _archives(folder: Path, what: str) -> list[Path]:
    """The archives of a folder, by name. what: begins the message where there are none."""
    found = sorted(folder.glob("[!.]*.tar")) if is_folder(folder) else []
    if not found:
        raise InputError(f"{what} needs {folder}/*.tar, none was found")
    return found


def _unique(archives: Sequence[Path], folder: Path) -> list[Sample]:
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


def captioned(folder: Path, scored: Sequence[Photo]) -> Split:
    """Image-text pairs of `folder`/*.tar, one caption each, to train on.

    Ids count the pairs, in the order of the archives' names and of their files: keys may repeat
    from archive to archive. Left out and counted in `facts`: pairs without a caption (img2dataset
    writes an empty file), and pairs whose image file is that of a photograph of `scored`, byte for
    byte. **The same picture in another file is not noticed**: a crawl can hold scored pictures.
    Raises InputError for a folder without archives or pairs, and as `samples` and `caption` do.
    """
    alike: dict[int, list[Photo]] = defaultdict(list)
    for photo in scored:
        alike[photo.path.stat().st_size].append(photo)
    kept: list[Photo] = []
    first: dict[tuple[int, bytes], int] = {}  # number of the first pair with such an image
    cleaned = empty = shared = 0
    pairs = (one for path in _archives(folder, "task.train_root") for one in _samples_of(path))
    for number, one in enumerate(pairs):
        size, start = one.image.st_size, one.image.head(START)
        if any(_is_file_of(one.image, start, photo.path) for photo in alike.get(size, ())):
            shared += 1
            continue
        raw = caption(one)
        text = clean_caption(raw).strip()
        if not text:
            empty += 1
            continue
        cleaned += text != raw
        group = first.setdefault((size, hashlib.sha256(start).digest()[:16]), number)
        kept.append(Photo(number, one.image, (Caption(number, text),), crawled_as=group))
    facts = {"pairs": len(kept), "left_out_scored_files": shared, "left_out_no_caption": empty}
    if not kept:
        raise InputError(f"task.train_root={folder}: no pair is left to train on: {facts}")
    return Split("train", kept, cleaned, facts)


def photos(root: Path, split: str, size: int, limit: int | None = None) -> imagenet_reader.Photos:
    """The images of a split as `imagenet_reader.photos` gives those of folders."""
    found = [imagenet_reader.Photo(sample.key, sample.image) for sample in samples(root, split)]
    return imagenet_reader.large_enough(found, size, limit, root / split)


def caption(sample: Sample) -> str:
    """The caption of a sample, without white space around it; it may be empty.

    InputError where there is none, or its file is not UTF-8 or JSON.
    """
    if sample.text is None:
        raise InputError(f"{sample.image}: the sample has neither .txt nor .json for its caption")
    where = str(sample.text)
    try:
        text = sample.text.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where}: no caption in it, the file is not UTF-8") from None
    if sample.text.name.lower().endswith(".json"):
        card = parse_json(text, where)
        found = card.get("caption") if isinstance(card, dict) else None
        if not isinstance(found, str):
            raise InputError(f'{where}: no caption in it; .txt holds it, or "caption" of .json')
        text = found
    return text.strip()


def _is_file_of(one: Member, start: bytes, other: Path | Member) -> bool:
    """Whether two files of one size are equal. start: the first bytes of `one`; most differ there.

    Nothing more is then read.
    """
    if isinstance(other, Member):
        begins = other.head(START)
    else:
        with other.open("rb") as file:
            begins = file.read(START)
    return begins == start and one.read_bytes() == other.read_bytes()


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
    if not is_file(path):
        raise InputError(f"{path}: not a file, or a link to nothing")
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
    except PermissionError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: truncated, or not an uncompressed tar ({error})") from None
    # tarfile stops without a word at a header it cannot read, and where the file just ends.
    with path.open("rb") as file:
        file.seek(end)
        mark = file.read(BLOCK)
    if len(mark) < BLOCK or any(mark):
        raise InputError(f"{path}: truncated or damaged, no end of archive at byte {end}")
