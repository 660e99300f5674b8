"""Settings of training that all arms of a match share."""

from __future__ import annotations

from dataclasses import dataclass

from crossflow.errors import InputError


@dataclass
class Training:
    """Settings that all arms of a match share. Defaults: the paper's optimizer (section 5.1).

    warmup, cooldown: fractions of the budget. ema_width: relative width of the weight average.
    clip: largest gradient norm; None, as in the official code, clips nothing.
    checkpoint_seconds: wall time of the arm between checkpoints.
    """

    batch: int = 64
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.9
    weight_decay: float = 0.03
    warmup: float = 0.05
    cooldown: float = 0.2
    ema_width: float = 0.10
    clip: float | None = None
    precision: str = "fp32"
    compile: bool = False
    checkpoint_seconds: float = 60.0
    log_every: int = 10

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"training.precision={self.precision} is not fp32 or bf16")
        for name in ("batch", "lr", "log_every"):
            if not getattr(self, name) > 0:
                raise InputError(f"training.{name}={getattr(self, name)} must be positive")
