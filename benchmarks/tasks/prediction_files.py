"""How truths whose predictions are pictures, or captions, read and write and show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.records.samples import Cell


class PictureFiles:
    """Predictions are square 8-bit RGB pictures of `size` pixels, `<id>.png`."""

    ids: Sequence[str]
    size: int

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        """See `Truth.read`."""
        from benchmarks.data.predictions import ImagePredictions

        return ImagePredictions(folder, self.ids, (self.size, self.size))

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        """See `Truth.write`."""
        from benchmarks.data.predictions import write_image

        for name, picture in zip(self.ids, predictions, strict=True):
            write_image(folder, name, picture)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        """See `Truth.cell`."""
        return predictions[index]


class CaptionFiles:
    """Predictions are texts, one an item, in `captions.json`; ids are whole numbers."""

    ids: Sequence[str]

    def read(self, folder: Path) -> list[str]:
        """See `Truth.read`."""
        from benchmarks.data.predictions import read_captions

        return list(read_captions(folder, [int(name) for name in self.ids]).values())

    def write(self, folder: Path, predictions: Sequence[str]) -> None:
        """See `Truth.write`."""
        from benchmarks.data.predictions import write_captions

        names = [int(name) for name in self.ids]
        write_captions(folder, dict(zip(names, predictions, strict=True)))

    def cell(self, predictions: Sequence[str], index: int) -> Cell:
        """See `Truth.cell`."""
        return predictions[index]
