"""What an arm's captions score against scenes that they were not written for: its chance level.

A caption of the right form is true of many scenes, so scene_f1 above 0 is no proof that the picture
was looked at. An arm whose score is not above this level has learned the language alone. From the
items that stand beside the records, without any training:

    python -m benchmarks.tabletop.making.chance --out results/public
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.config.schema import Config
from benchmarks.records.record import read_all
from benchmarks.tabletop.captions import scene_f1
from benchmarks.tabletop.scenes import Scene, scene
from crossflow.errors import InputError

TASK = "caption_tabletop"
SHIFTS = 19  # other scenes that each caption is scored against


def levels(texts: Sequence[str], scenes: Sequence[Scene]) -> tuple[float, float]:
    """Mean scene_f1 of texts on their own scenes, and on the 1st to 19th scene after their own.

    Both run over the same texts and the same scenes, wrapping around the end. InputError below two
    scenes, where there is no other.
    """
    count = len(scenes)
    if count < 2:
        raise InputError(f"{TASK}: {count} items: to score a caption against others takes two")
    own = fmean(scene_f1(text, seen) for text, seen in zip(texts, scenes, strict=True))
    other = fmean(
        scene_f1(text, scenes[(place + shift) % count])
        for shift in range(1, min(SHIFTS, count - 1) + 1)
        for place, text in enumerate(texts)
    )
    return own, other


def read_captions(path: Path) -> tuple[list[str], list[Scene]]:
    """The captions of an items file and the scenes they were written for."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row["caption"] for row in rows], [scene(int(row["id"])) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no items of {TASK} ({error})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line a run; returns 2 where there is nothing to read."""
    parser = argparse.ArgumentParser(description="Score captions against scenes of others.")
    parser.add_argument("--out", type=Path, default=Path(Config.out), help="folder of records/")
    out = parser.parse_args(arguments).out
    try:
        runs = [r for r in read_all(out) if r.task == TASK and r.status == "completed"]
        if not runs:
            raise InputError(f"--out {out}: no completed record of {TASK}")
        print(f"{'run':50} {'scene_f1':>8} {'others':>8}")
        for run in runs:
            own, other = levels(*read_captions(out / "items" / TASK / f"{run.run_id}.csv"))
            print(f"{run.run_id:50} {own:8.4f} {other:8.4f}")
    except InputError as error:
        print(f"chance: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
