"""What lies between captions: straight lines in x0, and sums of x0 (paper section 5.1.3, figure 4).

Only for text to image, and only for methods whose x0 is made from the source and whose network
sees nothing else of it: noise holds no caption, so there is nothing to blend. The codes are blended
as they are, as the paper says; its demo code standardises sums before it follows them.

All cells of a strip or a sum have the draw of their first item, so that only the captions differ.
Their rows of `samples` are `<run_id>-interpolation` (a strip fills a row of the mosaic) and
`<run_id>-arithmetic` (`ROLES` of a sum after each other).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.records.samples import COLUMNS, ITEMS, ROLES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmarks.tasks.task import Prepared, Trained
    from crossflow.problem import Source

Cells = tuple[list[str], list[Any]]  # ids, and what was decoded


@dataclass(frozen=True)
class Blender:
    """A trained arm, asked for x0 of its own choice."""

    prepared: Prepared
    trained: Trained

    @property
    def applies(self) -> bool:
        return self.trained.arm.method.condition == "none"

    def draw_strips(self) -> None:
        """Keeps strips between the first test items, where the arm has an x0 to blend."""
        ids, cells = self.strips() if self.applies else ([], [])
        if ids:
            self.trained.keep("interpolation", ids, cells)

    def draw_sums(
        self, texts: Sequence[Sequence[str]], values: np.ndarray, mask: np.ndarray
    ) -> None:
        """Keeps sums of captions: see `sums`."""
        if self.applies:
            self.trained.keep("arithmetic", *self.sums(texts, values, mask))

    def strips(self) -> Cells:
        """Strips between the first test items, two by two: x0 = (1 - w) a + w b, w = 0, 1/7 ... 1.

        Ids are `<a>~<b>@<w>`. Empty where there are fewer than two items.
        """
        import torch

        names = self.prepared.test.ids
        strips = min(ITEMS // COLUMNS, len(names) // 2)
        if not strips:
            return [], []
        rows = list(range(2 * strips))
        source = self.prepared.test.pairs(rows).source
        x0 = self._starts(source, [names[row - row % 2] for row in rows])
        weights = torch.linspace(0, 1, COLUMNS, device=x0.device)[:, None, None, None]
        lines = [(1 - weights) * x0[row] + weights * x0[row + 1] for row in rows[::2]]
        ids = [
            f"{names[row]}~{names[row + 1]}@{weight:.3f}"
            for row in rows[::2]
            for weight in weights.flatten().tolist()
        ]
        return ids, self._follow(torch.cat(lines))

    def sums(self, texts: Sequence[Sequence[str]], values: np.ndarray, mask: np.ndarray) -> Cells:
        """start, minus, plus and start - minus + plus. Ids are `<number> <role>: <text>`.

        texts: start, minus, plus and what their sum should show. values, mask: tokens of start,
        minus and plus of the first sum, then of the second.
        """
        import torch

        from crossflow.problem import Source

        terms = len(ROLES) - 1
        texts = texts[: ITEMS // len(ROLES)]
        used = terms * len(texts)
        source = Source(torch.from_numpy(values[:used]), torch.from_numpy(mask[:used]))
        x0 = self._starts(source, [f"sum {row // terms}" for row in range(used)])
        start, minus, plus = (x0[place::terms] for place in range(terms))
        cells = torch.stack([start, minus, plus, start - minus + plus], dim=1).flatten(0, 1)
        ids = [
            f"{number} {role}: {text}"
            for number, four in enumerate(texts)
            for role, text in zip(ROLES, four, strict=True)
        ]
        return ids, self._follow(cells)

    def _starts(self, source: Source, names: Sequence[str]) -> Tensor:
        """x0 of sources; equal names have equal draws."""
        import torch

        sampler, method = self.trained.sampler, self.trained.arm.method
        with torch.no_grad():
            return method.sample_ends(source.to(sampler.device), sampler.draws(names)).x0

    def _follow(self, x0: Tensor) -> list[Any]:
        """Predictions for any x0 (b, c, h, w) of this arm."""
        import torch

        from crossflow.method import Ends

        trained, test = self.trained, self.prepared.test
        guided = self.prepared.problem.null_rate > 0
        values: list[Any] = []
        for part in x0.split(trained.sampler.batch):
            null = torch.zeros(len(part), dtype=torch.bool, device=part.device) if guided else None
            ends = Ends(part, None, null=null)
            target, _ = trained.sampler.follow(trained.arm, test, ends, trained.guidance)
            values += self.prepared.decode(target)
        return values
