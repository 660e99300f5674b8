"""CrossFlow by the recipe its paper prints: the standard KL, 1e-4 on its sum over the latent.

Liu et al. 2025, arXiv:2412.15213, section 5.1 and appendix A.1. The rest is `crossflow`, and so is
what differs there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crossflow.crossflow import CrossFlow, applies
from crossflow.crossflow import Options as Released

NAME = "crossflow_paper"
__all__ = ["NAME", "Options", "applies", "method"]


@dataclass
class Options(Released):
    """Those of `crossflow`, with other defaults."""

    kl_form: Literal["official", "standard"] = "standard"  # mu^2
    kl_weight: float | None = None  # null: 1e-4 of a sum, so 1e-4 times the numbers of the latent


class CrossFlowPaper(CrossFlow):
    """x0 ~ q(z given source), charged as printed."""

    options = Options
    kl_of_sum = 1e-4


method = CrossFlowPaper
