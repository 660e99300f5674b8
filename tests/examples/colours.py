"""Grey pictures to their colours: the pictures `b` of `paired_folder`, as source without colour."""

import numpy as np

from benchmarks.tasks.paired_folder import DEFAULTS, PairedFolder, PairedPictures

__all__ = ["DEFAULTS", "TASK"]


class GreyPictures(PairedPictures):
    def load(self, index):
        colour = super().load(index)[1]
        grey = colour.mean(-1, keepdims=True).round().astype(np.uint8)
        return grey.repeat(3, -1), colour

    def facts(self):
        return super().facts() | {"source": "grey"}


class TASK(PairedFolder):
    def items(self, part):
        return GreyPictures(self, part)
