"""The judge of the embedded world: what does a picture show, and does it show what was asked?

Its network is a small centre-point detector with a pooled feature head. One convolutional trunk at
64 px (32 px pictures are enlarged first) ends in a 16 x 16 grid. Each cell says whether a solid's
centre lies in it (Zhou et al. 2019, "Objects as Points") and what the solid is. The feature head
pools every level of the trunk, the early ones with their spread: fine texture and blur show there,
and a distance between sets of pictures must see them. The judge is frozen and never takes part in
training or guidance of an arm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from benchmarks.tabletop import facts
from benchmarks.tabletop.captions import Caption
from benchmarks.tabletop.cards import frozen
from benchmarks.tabletop.facts import Description, Detection, Group, Statement
from benchmarks.tabletop.scenes import COLORS, MATERIALS, MAX_SOLIDS, SHAPES

NAME = "evaluator"
VERSION = 1
EXTRACTOR = "tabletop"  # of the features, in torch-fidelity's registry
ATTRIBUTES = {"shape": SHAPES, "color": COLORS, "material": MATERIALS}
THRESHOLD = 0.35  # of the confidence, for a detection to count; chosen on the split `codec`
FAINTEST = 0.05  # of the confidence, for a sighting to enter the soft score
APART = 0.07  # share of the picture: centres of two solids are never nearer
BATCH = 128
GRID = 16  # cells each way
WIDTHS = (32, 48, 112, 192)  # channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
JOINED = 80  # channels where the levels meet, at 1/4
FEATURES = 64  # dimensions for FID and KID
PAIRS = 32  # colour x shape, the classes of the feature head
QUALITIES = 3  # what it must also know of the picture: size, blur, noise
# Channels of each map of the grid.
PARTS = {"heat": 1, "offset": 2, "shape": 4, "color": 8, "material": 2}
PARTS |= {"log_size": 1, "log_depth": 1}


@dataclass(frozen=True)
class Sighting:
    """A possible solid: its most probable reading, and the probabilities of each attribute."""

    best: Detection
    chances: dict[str, Float[np.ndarray, " words"]]  # by names of ATTRIBUTES


class Evaluator(nn.Module):
    """The network and what is read off it; pictures of 64 or 32 px."""

    center: Tensor
    whitening: Tensor

    def __init__(self) -> None:
        super().__init__()
        w2, w4, w8, w16 = WIDTHS
        self.level2 = _convolution(3, w2, stride=2)
        self.level4 = nn.Sequential(_convolution(w2, w4, stride=2), Residual(w4))
        self.level8 = nn.Sequential(_convolution(w4, w8, stride=2), Residual(w8), Residual(w8))
        self.level16 = nn.Sequential(_convolution(w8, w16, stride=2), Residual(w16))
        self.side4, self.side8, self.side16 = (nn.Conv2d(c, JOINED, 1) for c in (w4, w8, w16))
        self.join = nn.Sequential(nn.ReLU(), _convolution(JOINED, JOINED))
        self.head = nn.Conv2d(JOINED, sum(PARTS.values()), 1)
        self.pooled = nn.Linear(2 * w2 + 2 * w4 + w8 + w16, FEATURES)
        self.register_buffer("center", torch.zeros(FEATURES))
        self.register_buffer("whitening", torch.eye(FEATURES))
        self.summary = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, PAIRS + QUALITIES))
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[:1], -4.0)  # few cells hold a centre

    def forward(self, images: UInt8[Tensor, "b 3 s s"]) -> dict[str, Tensor]:
        """The grid by names of PARTS [b, c, 16, 16], and rows of features, logits, qualities."""
        if images.dtype != torch.uint8 or images.shape[-2:] not in ((64, 64), (32, 32)):
            raise ValueError(
                f"the evaluator sees uint8 at 64 or 32 px, not {images.dtype} {images.shape}"
            )
        scaled = images.float() / 127.5 - 1
        if images.shape[-1] != 64:
            scaled = nn.functional.interpolate(scaled, (64, 64), mode="bilinear")
        scaled = scaled.contiguous(memory_format=torch.channels_last)
        x2 = self.level2(scaled)
        x4 = self.level4(x2)
        x8 = self.level8(x4)
        x16 = self.level16(x8)
        top = self.side8(x8) + _doubled(self.side16(x16))
        grid = self.head(self.join(self.side4(x4) + _doubled(top)))
        pools = [*_spread(x2), *_spread(x4), x8.float().mean((2, 3)), x16.float().mean((2, 3))]
        pooled = self.pooled(torch.cat(pools, 1)).float()
        summary = self.summary(pooled).float()
        features = (pooled - self.center) @ self.whitening
        parts = dict(zip(PARTS, grid.float().split(list(PARTS.values()), 1), strict=True))
        logits, qualities = summary[:, :PAIRS], summary[:, PAIRS:]
        return parts | {"features": features, "logits": logits, "qualities": qualities}

    @torch.no_grad()
    def sightings(self, images: UInt8[Tensor, "n 3 s s"]) -> list[list[Sighting]]:
        """Every peak of the heat map with the probabilities of its attributes."""
        outputs = (self(batch.to(self.center.device)) for batch in images.split(BATCH))
        return [seen for output in outputs for seen in _read(output)]

    def detect(self, images: UInt8[Tensor, "n 3 s s"]) -> list[list[Detection]]:
        """The solids seen in each picture, most confident first."""
        return [_certain(seen) for seen in self.sightings(images)]

    def verdicts(
        self, images: UInt8[Tensor, "n 3 s s"], captions: Sequence[Caption]
    ) -> tuple[list[float], list[float]]:
        """Of picture i and caption i: the scene score's verdict (1 where it shows all that is
        stated, else 0), and the image-text score, mean probability of the stated facts.

        Two of three facts shown score near 2/3 where the verdict is 0: made for comparing
        pictures that all fail.
        """
        stated = [caption.statement for caption in captions]
        looks = list(zip(stated, self.sightings(images), strict=True))
        right = [float(facts.holds(statement, _certain(seen))) for statement, seen in looks]
        return right, [statement_probability(*look) for look in looks]


def _certain(seen: Sequence[Sighting]) -> list[Detection]:
    return [sighting.best for sighting in seen if sighting.best.confidence >= THRESHOLD]


class Residual(nn.Module):
    """x + f(x), f two normalised convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.relu(x + self.norm(self.second(self.first(x))))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _spread(x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the picture."""
    variance, mean = torch.var_mean(x.float(), (2, 3))
    return mean, (variance + 1e-6).sqrt()


@cache
def load(device: str = "cpu") -> Evaluator:
    """The shipped evaluator; read once per process and device."""
    return frozen(NAME, Evaluator, device).to(memory_format=torch.channels_last)


def register() -> None:
    """Makes the features known to torch-fidelity as EXTRACTOR. May be repeated.

    Layers: `features` (64 numbers, for FID, KID and precision-recall) and `logits` (32 colour-shape
    pairs, for the inception score).
    """
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    class TabletopFeatures(FeatureExtractorBase):
        """torch-fidelity's view of the evaluator (its contract: feature_extractor_base.py)."""

        def __init__(self, name: str, features_list: list[str], **options: object) -> None:
            super().__init__(name, features_list)
            self.network = copy.deepcopy(load("cpu"))
            self.eval().requires_grad_(False)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        def forward(self, images: UInt8[Tensor, "n 3 s s"]) -> tuple[Tensor, ...]:
            output = self.network(images)
            return tuple(output[layer] for layer in self.features_list)

    if EXTRACTOR not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(EXTRACTOR, TabletopFeatures)


def _read(output: dict[str, Tensor]) -> list[list[Sighting]]:
    """Peaks of the heat maps with what the grid says there."""
    heat = output["heat"].sigmoid().cpu()
    is_peak = heat == nn.functional.max_pool2d(heat, 3, stride=1, padding=1)
    # More solids than a scene can hold, so that a surplus is seen as such.
    values, cells = (heat * is_peak).flatten(1).topk(MAX_SOLIDS + 3)
    at_peaks = {}
    for name, channels in PARTS.items():
        rows = cells[:, None].expand(-1, channels, -1)
        at_peaks[name] = output[name].cpu().flatten(2).gather(2, rows).transpose(1, 2)
    attributes = {name: at_peaks[name].softmax(-1).numpy() for name in ATTRIBUTES}
    offset, size, depth = (at_peaks[name].tolist() for name in ("offset", "log_size", "log_depth"))
    sightings: list[list[Sighting]] = []
    for b in range(len(heat)):
        seen: list[Sighting] = []
        for k in np.flatnonzero(values[b].numpy() >= FAINTEST):
            row, column = divmod(int(cells[b, k]), GRID)
            chances = {name: chance[b, k] for name, chance in attributes.items()}
            shape, color, material = (
                words[int(chances[name].argmax())] for name, words in ATTRIBUTES.items()
            )
            best = Detection(
                shape,
                color,
                material,
                size=math.exp(size[b][k][0]),
                u=(column + 0.5 + offset[b][k][0]) / GRID,
                v=(row + 0.5 + offset[b][k][1]) / GRID,
                depth=math.exp(depth[b][k][0]),
                confidence=float(values[b, k]),
            )
            if all(math.hypot(best.u - s.best.u, best.v - s.best.v) > APART for s in seen):
                seen.append(Sighting(best, chances))
        sightings.append(seen)
    return sightings


def statement_probability(statement: Statement, seen: Sequence[Sighting]) -> float:
    """Mean probability, 0..1, of what a statement says of its groups and of their relation.

    Sightings are taken as independent; sizes, places and depths are taken as read.
    """
    chances = [group_probability(group, seen) for group in dict.fromkeys(statement.groups)]
    if statement.relation is not None:
        first, second = (fit_probabilities(group.what, seen) for group in statement.groups)
        pairs = [
            float(first[i] * second[j])
            for i, j in permutations(range(len(seen)), 2)
            if facts.related(seen[i].best, seen[j].best, statement.relation)
        ]
        chances.append(max(pairs, default=0.0))
    return math.fsum(chances) / len(chances)


def group_probability(group: Group, seen: Sequence[Sighting]) -> float:
    """Probability that a group is there: at least one solid, or exactly its number."""
    chances = fit_probabilities(group.what, seen)
    if group.count is None:
        return float(1 - np.prod(1 - chances))
    # Of independent events that many happen (Poisson binomial).
    of = np.zeros(max(len(chances), group.count) + 1)
    of[0] = 1.0
    for chance in chances:
        of[1:] = of[1:] * (1 - chance) + of[:-1] * chance
        of[0] *= 1 - chance
    return float(of[group.count])


def fit_probabilities(what: Description, seen: Sequence[Sighting]) -> Float[np.ndarray, " k"]:
    """Of every sighting, the probability that it is there and fits the description."""
    sizes = facts.size_words([s.best.size for s in seen], facts.VERIFY_SIZE)
    chances = np.array([s.best.confidence for s in seen], np.float64)
    for name, words in ATTRIBUTES.items():
        if (word := getattr(what, name)) is not None:
            chances *= [float(s.chances[name][words.index(word)]) for s in seen]
    return chances * [what.size in (None, size) for size in sizes]
