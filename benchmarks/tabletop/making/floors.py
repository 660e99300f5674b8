"""What is scored without looking at the source: proof that the world can tell methods apart.

Where a constant map or a constant caption comes close to the truth, a table of trained models says
nothing. So every floor is measured before any model is trained, against LIMITS:

    python -m benchmarks.tabletop.making.floors --train 2000 --test 1000
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from benchmarks.tabletop.captions import captions, scene_f1
from benchmarks.tabletop.render import depth_map, empty_depth
from benchmarks.tabletop.scenes import Scene, indices, scene

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

Maps = Float[torch.Tensor, "n h w"]
Mask = Bool[torch.Tensor, "n h w"]


def absrel(predicted: Maps, truth: Maps, mask: Mask) -> float:
    """Mean over images of the mean over masked pixels of |p - d| / d; images without any left out.

    predicted may be one map [1, h, w] for all images.
    """
    error = (predicted - truth).abs() / truth
    counts = mask.sum((1, 2))
    per_image = (error * mask).sum((1, 2)) / counts.clamp_min(1)
    return float(per_image[counts > 0].mean())


def median_ratio(predicted: Maps, truth: Maps, mask: Mask) -> Float[torch.Tensor, "n 1 1"]:
    """Median of the truth over median of the prediction on the masked pixels, for every image."""
    guess = predicted.expand_as(truth)
    ratios = [
        d[m].median() / p[m].median() if m.any() else d.new_tensor(1.0)
        for p, d, m in zip(guess, truth, mask, strict=True)
    ]
    return torch.stack(ratios)[:, None, None]


def depth_floors(train: Sequence[Scene], test: Sequence[Scene], size: int = 64) -> dict[str, float]:
    """AbsRel of the mean training depth map, also median-scaled, and of the empty table."""
    mean = depth_map(train, size)[0].mean(0, keepdim=True)
    truth, owner = depth_map(test, size)
    solid, everything = owner > 0, torch.ones_like(owner, dtype=torch.bool)
    scaled = mean * median_ratio(mean, truth, everything)
    scaled_there = mean * median_ratio(mean, truth, solid)
    empty = empty_depth(test, size)
    return {
        "mean_map_object": absrel(mean, truth, solid),
        "mean_map_object_scaled": absrel(scaled, truth, solid),
        "mean_map_object_scaled_on_objects": absrel(scaled_there, truth, solid),
        "mean_map_all": absrel(mean, truth, everything),
        "empty_object": absrel(empty, truth, solid),
        "empty_all": absrel(empty, truth, everything),
    }


def most_frequent_caption(train: Sequence[Scene]) -> str:
    """The text that most captions of the training scenes share; the first of them at a tie."""
    return Counter(c.text for s in train for c in captions(s)).most_common(1)[0][0]


def caption_floors(train: Sequence[Scene], test: Sequence[Scene]) -> dict[str, float]:
    """Mean scene F1 of the most frequent caption and of the best of the 100 most frequent.

    The second is harder than any floor a table shows: it looks at the test set.
    """
    counts = Counter(c.text for s in train for c in captions(s))

    def mean_f1(text: str) -> float:
        return float(np.mean([scene_f1(text, s) for s in test]))

    return {
        "frequent_caption_f1": mean_f1(most_frequent_caption(train)),
        "best_constant_caption_f1": max(mean_f1(text) for text, _ in counts.most_common(100)),
    }


def failures(measured: dict[str, float]) -> list[str]:
    """Names the limits that are missed, with their numbers; empty where the world is hard."""
    missed = []
    for name, (sign, limit) in LIMITS.items():
        value = measured[name]
        if not (value > limit if sign == ">" else value < limit):
            missed.append(f"{name} is {value:.4f}, must be {sign} {limit}")
    return missed


def main() -> int:
    """Prints every floor beside its limit; returns 1 where one is missed."""
    parser = argparse.ArgumentParser(description="Measure what constant predictions score.")
    parser.add_argument("--train", type=int, default=2000, help="training scenes")
    parser.add_argument("--test", type=int, default=1000, help="test scenes of the split iid")
    options = parser.parse_args()
    train = [scene(int(i)) for i in indices("train", options.train)]
    test = [scene(int(i)) for i in indices("iid", options.test)]
    measured = depth_floors(train, test) | caption_floors(train, test)
    for name, value in measured.items():
        sign, limit = LIMITS.get(name, ("", ""))
        print(f"{name:36s} {value:.4f}  {sign} {limit}".rstrip())
    missed = failures(measured)
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
