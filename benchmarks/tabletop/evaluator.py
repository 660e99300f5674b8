"""The judge of the embedded world: what does a picture show, and does it show what was asked?

`detect` lists the solids of a picture, `score` says of pictures whether everything their captions
state holds for those (the scene score), `match` says softly how well it does (the image-text
score), and `features` are the 64 numbers a picture has in FID and KID, through torch-fidelity's
registered extractor `tabletop`. The judge is frozen and never takes part in training or guidance of
an arm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.tabletop import detector
from benchmarks.tabletop.captions import Caption, statement_of, verdict
from benchmarks.tabletop.cards import read_weights
from benchmarks.tabletop.facts import (
    VERIFY_SIZE,
    Description,
    Detection,
    Fact,
    Statement,
    related,
    size_words,
)
from benchmarks.tabletop.scenes import COLORS, MATERIALS, MAX_SOLIDS, SHAPES

EXTRACTOR = "tabletop"
SIZES = (64, 32)
THRESHOLD = 0.35  # of the confidence, for a detection to count; chosen on the split `codec`
FAINTEST = 0.05  # of the confidence, for a sighting to enter the soft score
APART = 0.07  # share of the picture: centres of two solids are never nearer
BATCH = 128


@dataclass(frozen=True)
class Sighting:
    """A possible solid: its most probable reading, and the probabilities of each attribute."""

    best: Detection
    shape: Float[np.ndarray, " shapes"]
    color: Float[np.ndarray, " colors"]
    material: Float[np.ndarray, " materials"]


class Evaluator:
    """The shipped detector in eval mode, and what is read off it."""

    def __init__(self, network: detector.Detector, device: str) -> None:
        self.network = network
        self.device = device

    def detect(self, images: UInt8[Tensor, "n 3 s s"]) -> list[list[Detection]]:
        """The solids seen in each picture, most confident first; ValueError as in `_checked`."""
        return [
            [sighting.best for sighting in seen if sighting.best.confidence >= THRESHOLD]
            for seen in self.sightings(images)
        ]

    def sightings(self, images: UInt8[Tensor, "n 3 s s"]) -> list[list[Sighting]]:
        """Every peak of the heat map with the probabilities of its attributes."""
        return [seen for batch in _batches(images) for seen in _read(self._output(batch).grid)]

    def features(self, images: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 64"]:
        """Features for FID and KID, on the CPU."""
        parts = [self._output(batch).features.cpu() for batch in _batches(images)]
        return torch.cat(parts) if parts else torch.empty(0, detector.FEATURES)

    def score(
        self, images: UInt8[Tensor, "n 3 s s"], captions: Sequence[Caption | str]
    ) -> list[bool]:
        """The scene score's verdicts: does picture i show all that caption i states?"""
        pairs = zip(captions, self.detect(images), strict=True)
        return [verdict(caption, seen) for caption, seen in pairs]

    def match(
        self, images: UInt8[Tensor, "n 3 s s"], captions: Sequence[Caption | str]
    ) -> list[float]:
        """The image-text score: mean probability of the stated facts, 0..1.

        Two of three facts shown score near 2/3 where the verdict is False: made for comparing
        pictures that all fail. A text that cannot be read scores 0.
        """
        statements = map(statement_of, captions)
        return [
            0.0 if statement is None else statement_probability(statement, seen)
            for statement, seen in zip(statements, self.sightings(images), strict=True)
        ]

    @torch.no_grad()
    def _output(self, images: UInt8[Tensor, "n 3 s s"]) -> detector.Output:
        output: detector.Output = self.network(images.to(self.device))
        return output


@cache
def load(device: str = "cpu") -> Evaluator:
    """The shipped evaluator; read once per process and device, see `read_weights`."""
    with torch.device("meta"):  # no initialisation: the global random state stays untouched
        network = detector.Detector()
    network.load_state_dict(read_weights(detector.NAME), assign=True)
    network = network.to(device).to(memory_format=torch.channels_last)
    return Evaluator(network.eval().requires_grad_(False), device)


def register() -> str:
    """Make the features known to torch-fidelity; returns the extractor's name. May be repeated.

    Layers: `features` (64 numbers, for FID, KID and precision-recall) and `logits` (32 colour-shape
    pairs, for the inception score).
    """
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    class TabletopFeatures(FeatureExtractorBase):
        """torch-fidelity's view of the evaluator (its contract: feature_extractor_base.py)."""

        def __init__(self, name: str, features_list: list[str], **options: object) -> None:
            super().__init__(name, features_list)
            self.network = copy.deepcopy(load("cpu").network)
            self.eval().requires_grad_(False)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        def forward(self, images: UInt8[Tensor, "n 3 s s"]) -> tuple[Tensor, ...]:
            output = self.network(_checked(images))
            return tuple(getattr(output, layer) for layer in self.features_list)

    if EXTRACTOR not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(EXTRACTOR, TabletopFeatures)
    return EXTRACTOR


def _checked(images: Tensor) -> UInt8[Tensor, "n 3 s s"]:
    sides = tuple(images.shape[1:])
    if images.dtype != torch.uint8 or sides not in [(3, size, size) for size in SIZES]:
        raise ValueError(f"the evaluator sees uint8 [n, 3, s, s], s in {SIZES}; got {sides}")
    return images


def _batches(images: Tensor) -> Iterator[UInt8[Tensor, "b 3 s s"]]:
    """Rows in order, `BATCH` at a time; none for an empty set."""
    for start in range(0, len(_checked(images)), BATCH):
        yield images[start : start + BATCH]


def _read(grid: dict[str, Float[Tensor, "b c 16 16"]]) -> list[list[Sighting]]:
    """Peaks of the heat maps with what the grid says there."""
    heat = grid["heat"].sigmoid().cpu()
    is_peak = (heat == torch.nn.functional.max_pool2d(heat, 3, stride=1, padding=1))[:, 0]
    # One solid more than a scene can hold, so that a surplus is seen as such.
    values, cells = (heat[:, 0] * is_peak).flatten(1).topk(MAX_SOLIDS + 3)
    parts = {name: grid[name].cpu().flatten(2) for name in detector.PARTS}
    pick = {
        name: part.gather(2, cells[:, None].expand(-1, part.shape[1], -1)).transpose(1, 2)
        for name, part in parts.items()
    }
    chances = {name: pick[name].softmax(-1).numpy() for name in ("shape", "color", "material")}
    offset, size, depth = (pick[name].numpy() for name in ("offset", "log_size", "log_depth"))
    sightings: list[list[Sighting]] = []
    for b in range(len(heat)):
        seen: list[Sighting] = []
        for k in np.flatnonzero(values[b].numpy() >= FAINTEST):
            row, column = divmod(int(cells[b, k]), detector.GRID)
            shape, color, material = (chances[n][b, k] for n in ("shape", "color", "material"))
            best = Detection(
                SHAPES[int(shape.argmax())],
                COLORS[int(color.argmax())],
                MATERIALS[int(material.argmax())],
                size=math.exp(float(size[b, k, 0])),
                u=(column + 0.5 + float(offset[b, k, 0])) / detector.GRID,
                v=(row + 0.5 + float(offset[b, k, 1])) / detector.GRID,
                depth=math.exp(float(depth[b, k, 0])),
                confidence=float(values[b, k]),
            )
            if all(math.hypot(best.u - s.best.u, best.v - s.best.v) > APART for s in seen):
                seen.append(Sighting(best, shape, color, material))
        sightings.append(seen)
    return sightings


def statement_probability(statement: Statement, seen: Sequence[Sighting]) -> float:
    """Mean probability, 0..1, of the facts of a statement.

    Sightings are taken as independent; sizes, places and depths are taken as read.
    """
    # fsum: the facts are a set, whose order is another in each process
    chances = [fact_probability(fact, seen) for fact in statement.facts]
    return math.fsum(chances) / len(chances)


def fact_probability(fact: Fact, seen: Sequence[Sighting]) -> float:
    """Probability that one fact holds: existence, an exact number, or a relation."""
    chances = fit_probabilities(fact.what, seen)
    if fact.kind == "object":
        return float(1 - np.prod(1 - chances))
    if fact.kind == "count":
        assert isinstance(fact.value, int)
        return _exactly(fact.value, chances)
    assert isinstance(fact.value, str)
    assert fact.other is not None
    others = fit_probabilities(fact.other, seen)
    pairs = [
        chances[i] * others[j]
        for i, first in enumerate(seen)
        for j, second in enumerate(seen)
        if i != j and related(first.best, second.best, fact.value)
    ]
    return float(max(pairs, default=0.0))


def fit_probabilities(what: Description, seen: Sequence[Sighting]) -> Float[np.ndarray, " k"]:
    """Of every sighting, the probability that it is there and fits the description."""
    sizes = size_words([s.best.size for s in seen], VERIFY_SIZE)
    chances = np.array([s.best.confidence for s in seen], np.float64)
    for name, words in (("shape", SHAPES), ("color", COLORS), ("material", MATERIALS)):
        if (word := getattr(what, name)) is not None:
            chances *= [float(getattr(s, name)[words.index(word)]) for s in seen]
    return chances * [what.size in (None, size) for size in sizes]


def _exactly(count: int, chances: Float[np.ndarray, " k"]) -> float:
    """Probability that exactly `count` of independent events happen (Poisson binomial)."""
    of = np.zeros(len(chances) + 2)
    of[0] = 1.0
    for chance in chances:
        of[1:] = of[1:] * (1 - chance) + of[:-1] * chance
        of[0] *= 1 - chance
    return float(of[count]) if count < len(of) else 0.0
