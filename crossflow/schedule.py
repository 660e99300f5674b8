"""Learning rate as a function of the share of the budget that is spent.

Not of the step: an arm with slower steps takes fewer of them, and would never reach its
cool-down if the schedule counted steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossflow.errors import InputError


@dataclass
class Schedule:
    """Linear warm-up, constant, linear cool-down to 0; the parts are fractions of the budget.

    cooldown=0 is the paper's rule (linear warm-up, then constant; section 5.1).
    """

    warmup: float = 0.05
    cooldown: float = 0.2

    def __post_init__(self) -> None:
        if min(self.warmup, self.cooldown) < 0 or self.warmup + self.cooldown > 1:
            raise InputError(
                f"warm-up {self.warmup} and cool-down {self.cooldown} must be fractions of the "
                "budget that sum to at most 1"
            )

    def factor(self, fraction: float) -> float:
        """What the peak learning rate is multiplied with when `fraction` of the budget is spent."""
        rising = fraction / self.warmup if self.warmup > 0 else 1.0
        falling = (1.0 - fraction) / self.cooldown if self.cooldown > 0 else 1.0
        return max(0.0, min(1.0, rising, falling))
