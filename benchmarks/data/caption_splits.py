"""Which photographs and captions `task.root`, `task.layout` and `task.split` mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import coco_reader, karpathy_reader, webdataset_reader
from benchmarks.data.captioned_photos import Split
from benchmarks.data.images import first_few
from benchmarks.data.splits import Report, choose, cut, require_root
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.data.captioned_photos import Photo

LAYOUTS = {"coco": coco_reader, "karpathy": karpathy_reader}
USES = ("task.root", "task.split_file", "task.layout", "task.train_root")


def scored(config: Config, layout: str, report: Report, images: bool) -> Split:
    """The split whose items are scored. layout: the task's own, where none is given.

    images: whether the files of its images must be there. Says how many there are on the way.
    """
    reader = LAYOUTS[choose("task.layout", config.task.layout or layout, tuple(LAYOUTS))]
    split = reader.scored(_root(config, layout), config.task.split, _listed(config), images)
    _tell(split, report)
    return split


def training(config: Config, layout: str, report: Report, held_apart: Split) -> Split:
    """The training split that belongs to `held_apart`, the scored one, or `task.train_root`.

    InputError where it is missing, or where an image is in both splits. What is left out of
    `task.train_root` is counted: see `webdataset_reader.captioned`.
    """
    if config.task.train_root is not None:
        folder = Path(config.task.train_root)
        split = webdataset_reader.captioned(folder, held_apart.photos)
        _tell(split, report)
        told = ", ".join(f"{name} {count}" for name, count in split.facts.items())
        report(f"task.train_root: {told}", 1, 1)
        return split
    reader = LAYOUTS[choose("task.layout", config.task.layout or layout, tuple(LAYOUTS))]
    split = reader.training(_root(config, layout), config.task.split, _listed(config))
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


def _root(config: Config, layout: str) -> Path:
    if (config.task.layout or layout) == "coco":
        files = "annotations/captions_{train,val}2014.json and {train,val}2014/*.jpg"
        return require_root(config, files, coco_reader.PUBLISHED)
    files = "dataset_coco.json and {train,val}2014/*.jpg"
    return require_root(config, files, karpathy_reader.PUBLISHED)


def _listed(config: Config) -> Path | None:
    return None if config.task.split_file is None else Path(config.task.split_file)


def _tell(split: Split, report: Report) -> None:
    captions = sum(len(photo.captions) for photo in split.photos)
    said = f"{split.name} split: {len(split.photos)} images, {captions} captions"
    if split.cleaned:
        said += f", {split.cleaned} of them with control characters, which became spaces"
    report(said, 1, 1)
