"""Measure the frozen codecs: `python -m benchmarks.tabletop.making.measure_cards NAME`.

All scenes are of splits the codecs never saw. The cards hold these numbers, and continuous
integration measures them again. Every number is a plain share or a mean of decibels over the first
`n` scenes of a split; a scene score is the share of captions whose stated facts all hold in what
the evaluator sees.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.tabletop import autoencoder, detector
from benchmarks.tabletop.captions import captions, verdict
from benchmarks.tabletop.cards import WEIGHTS, read_card, write_card
from benchmarks.tabletop.evaluator import Evaluator
from benchmarks.tabletop.evaluator import load as load_evaluator
from benchmarks.tabletop.facts import Detection, detections_of
from benchmarks.tabletop.making.minimal_pairs import minimal_pairs
from benchmarks.tabletop.render import render
from benchmarks.tabletop.scenes import Scene, indices, scene

SIZES = (64, 32)
NEAR = 0.08  # share of the picture between a true and a detected centre that are called the same
BATCH = 100

Scores = dict[str, float]


def scenes_of(split: str, count: int) -> list[Scene]:
    """The first `count` scenes of a split."""
    return [scene(int(index)) for index in indices(split, count)]


def evaluator_scores(judge: Evaluator, scenes: Sequence[Scene], size: int) -> Scores:
    """Scene score by level, minimal pairs flipped, solids found and read right, average picture."""
    images = render(scenes, size)
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
    for one, detections in zip(scenes, seen, strict=True):
        for caption in captions(one):
            held[caption.level].append(verdict(caption, detections))
    everything = [value for values in held.values() for value in values]
    return {k: float(np.mean(v)) for k, v in sorted(held.items())} | {
        "all": float(np.mean(everything))
    }


def flipped_pairs(scenes: Sequence[Scene], seen: Sequence[Sequence[Detection]]) -> float:
    """Share of minimal pairs of which the true caption is held true and the false one false."""
    flips = [
        verdict(pair.true, detections) and not verdict(pair.false, detections)
        for one, detections in zip(scenes, seen, strict=True)
        for pair in minimal_pairs(one)
    ]
    return float(np.mean(flips))


def solid_scores(scenes: Sequence[Scene], seen: Sequence[Sequence[Detection]]) -> Scores:
    """Solids found, found in surplus, and of the found ones the attributes read right."""
    right: dict[str, int] = defaultdict(int)
    found = true = total = 0
    for one, detections in zip(scenes, seen, strict=True):
        left = list(detections)
        total += len(detections)
        for truth in detections_of(one):
            true += 1
            nearest = min(left, key=lambda d: _distance(d, truth), default=None)
            if nearest is None or _distance(nearest, truth) > NEAR:
                continue
            left.remove(nearest)
            found += 1
            for name in ("shape", "color", "material"):
                right[name] += getattr(nearest, name) == getattr(truth, name)
    scores = {"solids_found": found / true, "solids_surplus": (total - found) / true}
    return scores | {f"{name}_right": count / max(found, 1) for name, count in right.items()}


def _distance(a: Detection, b: Detection) -> float:
    return float(np.hypot(a.u - b.u, a.v - b.v))


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
    images = render(scenes, size)
    copies = rebuilt(codec, images)
    error = (copies.float() - images.float()).square().mean((1, 2, 3)).clamp_min(255**2 * 1e-8)
    held = level_scores(scenes, judge.detect(copies))
    return {"psnr": float((10 * torch.log10(255**2 / error)).mean())} | {
        f"scene_score_{k}": v for k, v in held.items()
    }


def main(arguments: list[str]) -> None:
    """Measure one codec at both sizes and write the numbers into its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=(autoencoder.NAME, detector.NAME))
    parser.add_argument("--count", type=int, default=1000, help="scenes of each split")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    judge = load_evaluator()
    measured: dict[str, Scores] = {}
    for split in ("iid", "pairs", "crowd"):
        scenes = scenes_of(split, options.count)
        for size in SIZES:
            if options.name == detector.NAME:
                scores = evaluator_scores(judge, scenes, size)
            else:
                scores = autoencoder_scores(autoencoder.load(), judge, scenes, size)
            measured[f"{split}@{size}"] = {k: round(v, 4) for k, v in scores.items()}
            print(split, size, measured[f"{split}@{size}"])
    card = read_card(options.name) | {"scores": measured, "n": options.count}
    if options.name == autoencoder.NAME:
        card["evaluator"] = read_card(detector.NAME)["sha256"]
    write_card(options.name, card, Path(WEIGHTS))


if __name__ == "__main__":
    main(sys.argv[1:])
