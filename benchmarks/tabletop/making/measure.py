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
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from benchmarks.tabletop import autoencoder, detector, evaluator
from benchmarks.tabletop.captions import captions, scene_f1, verdict
from benchmarks.tabletop.cards import read_card, write_card
from benchmarks.tabletop.evaluator import Evaluator
from benchmarks.tabletop.facts import Detection, detections_of
from benchmarks.tabletop.making.minimal_pairs import minimal_pairs
from benchmarks.tabletop.render import depth_map, empty_depth, half_size, render
from benchmarks.tabletop.scenes import Scene, indices, scene
from crossflow.errors import InputError

NEAR = 0.08  # share of the picture between a true and a detected centre that are called the same
BATCH = 100
# AbsRel floors must lie above, the caption floor below. `object`: on object pixels; `scaled`: the
# map is multiplied by the ratio of medians, over all pixels or over the scored ones; `empty`: the
# table without solids seen by the true camera.
LIMITS = {
    "mean_map_object": (">", 0.20),
    "mean_map_object_scaled": (">", 0.20),
    "mean_map_object_scaled_on_objects": (">", 0.20),
    "empty_object": (">", 0.20),
    "empty_all": (">", 0.08),
    "frequent_caption_f1": ("<", 0.20),
}
CAPTION_TASK = "caption_tabletop"
SHIFTS = 19  # other scenes that each caption is scored against

Scores = dict[str, float]
Maps = Float[Tensor, "n h w"]
Mask = Bool[Tensor, "n h w"]


def scenes_of(split: str, count: int) -> list[Scene]:
    """The first `count` scenes of a split."""
    return [scene(int(index)) for index in indices(split, count)]


def evaluator_scores(judge: Evaluator, scenes: Sequence[Scene], size: int) -> Scores:
    """Scene score by level, minimal pairs flipped, solids found and read right, average picture."""
    images = render(scenes) if size == 64 else half_size(render(scenes))
    seen = judge.detect(images)
    scores = {f"scene_score_{k}": v for k, v in level_scores(scenes, seen).items()}
    scores["minimal_pairs"] = flipped_pairs(scenes, seen)
    mean = images.float().mean(0, keepdim=True).round().to(torch.uint8)
    same = judge.detect(mean) * len(scenes)
    scores["average_picture"] = level_scores(scenes, same)["all"]
    return scores | solid_scores(scenes, seen)


def level_scores(scenes: Sequence[Scene], seen: Sequence[Sequence[Detection]]) -> Scores:
    """Share of reference captions that hold for the detections: by level, and `all`."""
    held: dict[str, list[bool]] = defaultdict(list)
    for drawn, detections in zip(scenes, seen, strict=True):
        for caption in captions(drawn):
            held[caption.level].append(verdict(caption, detections))
    levels = {level: float(np.mean(held[level])) for level in sorted(held)}
    return levels | {"all": float(np.mean([*chain(*held.values())]))}


def flipped_pairs(scenes: Sequence[Scene], seen: Sequence[Sequence[Detection]]) -> float:
    """Share of minimal pairs of which the true caption is held true and the false one false."""
    flips = [
        verdict(pair.true, detections) and not verdict(pair.false, detections)
        for drawn, detections in zip(scenes, seen, strict=True)
        for pair in minimal_pairs(drawn)
    ]
    return float(np.mean(flips))


def solid_scores(scenes: Sequence[Scene], seen: Sequence[Sequence[Detection]]) -> Scores:
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
                for name in ("shape", "color", "material"):
                    counts[name] += getattr(nearest, name) == getattr(truth, name)
    true, hits = counts["true"], counts["hits"]
    scores = {"solids_found": hits / true, "solids_surplus": (counts["seen"] - hits) / true}
    right = {f"{n}_right": counts[n] / max(hits, 1) for n in ("shape", "color", "material")}
    return scores | right


@torch.no_grad()
def rebuilt(
    codec: autoencoder.Autoencoder, images: UInt8[Tensor, "n 3 s s"]
) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures after encoding and decoding, as uint8."""
    parts = [
        autoencoder.to_bytes(codec.decode(codec.encode(autoencoder.to_unit(part))))
        for part in images.split(BATCH)
    ]
    return torch.cat(parts)


def autoencoder_scores(
    codec: autoencoder.Autoencoder, judge: Evaluator, scenes: Sequence[Scene], size: int
) -> Scores:
    """Mean PSNR of the rebuilt pictures in dB, and the scene score they still reach."""
    images = render(scenes) if size == 64 else half_size(render(scenes))
    copies = rebuilt(codec, images)
    error = (copies.float() - images.float()).square().mean((1, 2, 3)).clamp_min(255**2 * 1e-8)
    held = level_scores(scenes, judge.detect(copies))
    return {"psnr": float((10 * torch.log10(255**2 / error)).mean())} | {
        f"scene_score_{k}": v for k, v in held.items()
    }


def measure_card(name: str, count: int) -> None:
    """Measures one codec at both sizes and writes the numbers into its card."""
    judge, measured = evaluator.load(), {}
    for split in ("iid", "pairs", "crowd"):
        scenes = scenes_of(split, count)
        for size in evaluator.SIZES:
            if name == detector.NAME:
                scores = evaluator_scores(judge, scenes, size)
            else:
                scores = autoencoder_scores(autoencoder.load(), judge, scenes, size)
            measured[f"{split}@{size}"] = {k: round(v, 4) for k, v in scores.items()}
            print(split, size, measured[f"{split}@{size}"])
    card = read_card(name) | {"scores": measured, "n": count}
    if name == autoencoder.NAME:
        card["evaluator"] = read_card(detector.NAME)["sha256"]
    write_card(name, card)


def absrel(predicted: Maps, truth: Maps, mask: Mask) -> float:
    """Mean over images of the mean over masked pixels of |p - d| / d; images without any left out.

    predicted may be one map [1, h, w] for all images.
    """
    error = (predicted - truth).abs() / truth
    counts = mask.sum((1, 2))
    per_image = (error * mask).sum((1, 2)) / counts.clamp_min(1)
    return float(per_image[counts > 0].mean())


def median_ratio(predicted: Maps, truth: Maps, mask: Mask) -> Float[Tensor, "n 1 1"]:
    """Median of the truth over median of the prediction on the masked pixels, for every image."""
    ratios = [
        d[m].median() / p[m].median() if m.any() else d.new_tensor(1.0)
        for p, d, m in zip(predicted.expand_as(truth), truth, mask, strict=True)
    ]
    return torch.stack(ratios)[:, None, None]


def depth_floors(train: Sequence[Scene], test: Sequence[Scene], size: int = 64) -> Scores:
    """AbsRel of the mean training depth map, also median-scaled, and of the empty table."""
    mean = depth_map(train, size)[0].mean(0, keepdim=True)
    truth, owner = depth_map(test, size)
    solid, everything = owner > 0, torch.ones_like(owner, dtype=torch.bool)
    scaled, scaled_there = (mean * median_ratio(mean, truth, m) for m in (everything, solid))
    empty = empty_depth(test)
    return {
        "mean_map_object": absrel(mean, truth, solid),
        "mean_map_object_scaled": absrel(scaled, truth, solid),
        "mean_map_object_scaled_on_objects": absrel(scaled_there, truth, solid),
        "mean_map_all": absrel(mean, truth, everything),
        "empty_object": absrel(empty, truth, solid),
        "empty_all": absrel(empty, truth, everything),
    }


def caption_floors(train: Sequence[Scene], test: Sequence[Scene]) -> Scores:
    """Mean scene F1 of the most frequent caption and of the best of the 100 most frequent.

    The second is harder than any floor a table shows: it looks at the test set.
    """
    counts = Counter(caption.text for drawn in train for caption in captions(drawn))
    f1 = [fmean(scene_f1(text, s) for s in test) for text, _ in counts.most_common(100)]
    return {"frequent_caption_f1": f1[0], "best_constant_caption_f1": max(f1)}


def failures(measured: Scores) -> list[str]:
    """Names the limits that are missed, with their numbers; empty where the world is hard."""
    return [
        f"missed: {name} is {measured[name]:.4f}, must be {sign} {limit}"
        for name, (sign, limit) in LIMITS.items()
        if not (measured[name] > limit if sign == ">" else measured[name] < limit)
    ]


def levels(texts: Sequence[str], scenes: Sequence[Scene]) -> tuple[float, float]:
    """Mean scene_f1 of texts on their own scenes, and on the 1st to 19th scene after their own.

    Both run over the same texts and the same scenes, wrapping around the end. InputError below two
    scenes, where there is no other.
    """
    count = len(scenes)
    if count < 2:
        raise InputError(f"{CAPTION_TASK}: {count} items: to score against others takes two")
    mine = fmean(scene_f1(text, seen) for text, seen in zip(texts, scenes, strict=True))
    other = fmean(
        scene_f1(text, scenes[(place + shift) % count])
        for shift in range(1, min(SHIFTS, count - 1) + 1)
        for place, text in enumerate(texts)
    )
    return mine, other


def measure_chance(out: Path) -> None:
    """Prints a line for each completed run whose items stand in `out`."""
    print(f"{'run':50} {'scene_f1':>8} {'others':>8}")
    for path in sorted((out / "records" / CAPTION_TASK).glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] == "completed":
            items = out / "items" / CAPTION_TASK / f"{record['run_id']}.csv"
            with items.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            scenes = [scene(int(row["id"])) for row in rows]
            mine, other = levels([row["caption"] for row in rows], scenes)
            print(f"{record['run_id']:50} {mine:8.4f} {other:8.4f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where the world is too easy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=(detector.NAME, autoencoder.NAME, "floors", "chance"))
    parser.add_argument("--train", type=int, default=2000, help="training scenes, of floors")
    parser.add_argument("--test", type=int, default=1000, help="test scenes of each split")
    parser.add_argument("--out", type=Path, default=Path("results/local"), help="has records/")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.what == "chance":
        measure_chance(options.out)
    elif options.what != "floors":
        measure_card(options.what, options.test)
    else:
        train, test = scenes_of("train", options.train), scenes_of("iid", options.test)
        measured = depth_floors(train, test) | caption_floors(train, test)
        print("\n".join([f"{n:36s} {v:.4f}" for n, v in measured.items()] + failures(measured)))
        return int(bool(failures(measured)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
