"""Measure the world and its frozen codecs: `python -m benchmarks.tabletop.making.measure WHAT`.

evaluator, autoencoder: the numbers that a codec's card states, over the first scenes of splits it
never saw, written into the card; continuous integration measures them again.
floors: what is scored without looking at the source. Where a constant map or a constant caption
comes close to the truth, a table of trained models says nothing. Exits with 1 where it does.
chance: what an arm's captions score against scenes that they were not written for. A caption of the
right form is true of many scenes, so scene_f1 above 0 is no proof that the picture was looked at.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from benchmarks.tabletop import autoencoder, evaluator
from benchmarks.tabletop.captions import captions, scene_f1
from benchmarks.tabletop.cards import read_card, write_card
from benchmarks.tabletop.evaluator import ATTRIBUTES
from benchmarks.tabletop.facts import Detection, detections_of, holds
from benchmarks.tabletop.making.minimal_pairs import minimal_pairs
from benchmarks.tabletop.render import depth_map, empty_depth, half_size, render
from benchmarks.tabletop.scenes import Scene, scene, scenes_of

NEAR = 0.08  # share of the picture between a true and a detected centre that are called the same
BATCH = 100
SHIFTS = 19  # other scenes that each caption is scored against
# AbsRel floors must lie above, the caption floor below. `object`: on object pixels; `empty`: the
# table without solids seen by the true camera.
LIMITS = {
    "mean_map_object": (">", 0.20),
    "empty_object": (">", 0.20),
    "empty_all": (">", 0.08),
    "frequent_caption_f1": ("<", 0.20),
}

Scores = dict[str, float]
Seen = Sequence[Sequence[Detection]]
Maps = Float[Tensor, "n h w"]


def pictures_of(scenes: Sequence[Scene], size: int) -> UInt8[Tensor, "n 3 {size} {size}"]:
    """Pictures at 64 or 32 pixels."""
    images = render(scenes)
    return images if size == 64 else half_size(images)


def evaluator_scores(scenes: Sequence[Scene], size: int) -> Scores:
    """Scene score by level, minimal pairs flipped, solids found and read right, average picture."""
    judge, images = evaluator.load(), pictures_of(scenes, size)
    seen = judge.detect(images)
    mean = images.float().mean(0, keepdim=True).round().to(torch.uint8)
    same = judge.detect(mean) * len(scenes)
    scores = {"minimal_pairs": flipped_pairs(scenes, seen)}
    scores["average_picture"] = level_scores(scenes, same)["scene_score_all"]
    return scores | level_scores(scenes, seen) | solid_scores(scenes, seen)


def level_scores(scenes: Sequence[Scene], seen: Seen) -> Scores:
    """Share of reference captions that hold for the detections: by level, and of all."""
    held: dict[str, list[bool]] = defaultdict(list)
    for drawn, detections in zip(scenes, seen, strict=True):
        for caption in captions(drawn):
            held[caption.level].append(holds(caption.statement, detections))
    held["all"] = [*chain(*held.values())]
    return {f"scene_score_{level}": float(np.mean(held[level])) for level in sorted(held)}


def flipped_pairs(scenes: Sequence[Scene], seen: Seen) -> float:
    """Share of minimal pairs of which the true caption is held true and the false one false."""
    flips = [
        holds(true.statement, detections) and not holds(false.statement, detections)
        for drawn, detections in zip(scenes, seen, strict=True)
        for true, false, _ in minimal_pairs(drawn)
    ]
    return float(np.mean(flips))


def solid_scores(scenes: Sequence[Scene], seen: Seen) -> Scores:
    """Solids found, found in surplus, and of the found ones the attributes read right."""
    counts: Counter[str] = Counter()
    for drawn, detections in zip(scenes, seen, strict=True):
        left = list(detections)
        counts["seen"] += len(left)
        for truth in detections_of(drawn):
            counts["true"] += 1
            distances = [float(np.hypot(d.u - truth.u, d.v - truth.v)) for d in left]
            if distances and min(distances) <= NEAR:
                nearest = left.pop(int(np.argmin(distances)))
                counts["hits"] += 1
                for name in ATTRIBUTES:
                    counts[name] += getattr(nearest, name) == getattr(truth, name)
    true, hits = counts["true"], counts["hits"]
    scores = {"solids_found": hits / true, "solids_surplus": (counts["seen"] - hits) / true}
    return scores | {f"{name}_right": counts[name] / max(hits, 1) for name in ATTRIBUTES}


@torch.no_grad()
def rebuilt(images: UInt8[Tensor, "n 3 s s"]) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures after encoding and decoding."""
    codec, units = autoencoder.load(), map(autoencoder.to_unit, images.split(BATCH))
    return torch.cat([autoencoder.to_bytes(codec.decode(codec.encode(unit))) for unit in units])


def autoencoder_scores(scenes: Sequence[Scene], size: int) -> Scores:
    """Mean PSNR of the rebuilt pictures in dB, and the scene score they still reach."""
    images = pictures_of(scenes, size)
    copies = rebuilt(images)
    error = (copies.float() - images.float()).square().mean((1, 2, 3)).clamp_min(255**2 * 1e-8)
    psnr = float((10 * torch.log10(255**2 / error)).mean())
    return {"psnr": psnr} | level_scores(scenes, evaluator.load().detect(copies))


def measure_card(name: str, count: int) -> None:
    """Measures one codec at both sizes and writes the numbers into its card."""
    scores = evaluator_scores if name == evaluator.NAME else autoencoder_scores
    measured = {}
    for split in ("iid", "pairs", "crowd"):
        scenes = scenes_of(split, count)
        for size in (64, 32):
            rounded = {k: round(v, 4) for k, v in scores(scenes, size).items()}
            measured[f"{split}@{size}"] = rounded
            print(split, size, rounded)
    card = read_card(name) | {"scores": measured, "n": count}
    if name == autoencoder.NAME:
        card["evaluator"] = read_card(evaluator.NAME)["sha256"]
    write_card(name, card)


def absrel(predicted: Maps, truth: Maps, mask: Bool[Tensor, "n h w"]) -> float:
    """Mean over images of the mean over masked pixels of |p - d| / d; images without any left out.

    predicted may be one map [1, h, w] for all images.
    """
    error = (predicted - truth).abs() / truth
    counts = mask.sum((1, 2))
    per_image = (error * mask).sum((1, 2)) / counts.clamp_min(1)
    return float(per_image[counts > 0].mean())


def floors(train: Sequence[Scene], test: Sequence[Scene]) -> Scores:
    """AbsRel of the mean training depth map and of the empty table; scene F1 of constant captions.

    The best of the 100 most frequent captions is harder than any floor a table shows: it looks at
    the test set.
    """
    truth, owner = depth_map(test)
    maps = {"mean_map": depth_map(train)[0].mean(0, keepdim=True), "empty": empty_depth(test)}
    pixels = {"object": owner > 0, "all": owner >= 0}
    measured = {
        f"{name}_{where}": absrel(predicted, truth, mask)
        for name, predicted in maps.items()
        for where, mask in pixels.items()
    }
    counts = Counter(caption.text for drawn in train for caption in captions(drawn))
    f1 = [fmean(scene_f1(text, s) for s in test) for text, _ in counts.most_common(100)]
    return measured | {"frequent_caption_f1": f1[0], "best_constant_caption_f1": max(f1)}


def failures(measured: Scores) -> list[str]:
    """The limits that are missed, with their numbers; empty where the world is hard."""
    return [
        f"missed: {name} is {measured[name]:.4f}, must be {sign} {limit}"
        for name, (sign, limit) in LIMITS.items()
        if not (measured[name] > limit if sign == ">" else measured[name] < limit)
    ]


def levels(texts: Sequence[str], scenes: Sequence[Scene]) -> tuple[float, float]:
    """Mean scene_f1 of texts on their own scenes, and on the 1st to 19th scene after their own.

    Both run over the same texts and the same scenes, at least two, wrapping around the end.
    """
    count = len(scenes)
    mine = fmean(scene_f1(text, seen) for text, seen in zip(texts, scenes, strict=True))
    other = fmean(
        scene_f1(text, scenes[(place + shift) % count])
        for shift in range(1, min(SHIFTS, count - 1) + 1)
        for place, text in enumerate(texts)
    )
    return mine, other


def measure_chance(out: Path) -> None:
    """Prints a line for each captioning run whose items stand in `out`."""
    print(f"{'run':50} {'scene_f1':>8} {'others':>8}")
    for path in sorted((out / "items/caption_tabletop").glob("*.csv")):
        items = pd.read_csv(path, keep_default_na=False)
        mine, other = levels(items["caption"], [scene(index) for index in items["id"].tolist()])
        print(f"{path.stem:50} {mine:8.4f} {other:8.4f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where the world is too easy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=(evaluator.NAME, autoencoder.NAME, "floors", "chance"))
    parser.add_argument("--train", type=int, default=2000, help="training scenes, of floors")
    parser.add_argument("--test", type=int, default=1000, help="test scenes of each split")
    parser.add_argument("--out", type=Path, default=Path("results/local"), help="has items/")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.what == "chance":
        measure_chance(options.out)
    elif options.what != "floors":
        measure_card(options.what, options.test)
    else:
        measured = floors(scenes_of("train", options.train), scenes_of("iid", options.test))
        print("\n".join([f"{n:36s} {v:.4f}" for n, v in measured.items()] + failures(measured)))
        return int(bool(failures(measured)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
