"""What a run is given: a budget with exactly one limit, and settings of training. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from crossflow.errors import InputError

# Settings that only trade time for memory, with the value at which they do nothing.
MEMORY = {"recompute": False, "accumulate": 1}


@dataclass
class Spent:
    """What an arm has used so far: a budget limits one of these, all are counted and recorded."""

    device_seconds: float = 0.0  # the train ledger times the devices; waiting for data included
    flops: float = 0.0  # of training, by the convention of `crossflow.arm`
    samples: int = 0  # training pairs
    steps: int = 0  # optimizer steps


@dataclass
class Budget:
    """One limit on training, for all arms. InputError unless it is one positive number."""

    device_seconds: float | None = None  # seconds of training times devices
    flops: float | None = None  # a multiply-add is 2, encoders are charged
    samples: float | None = None  # training pairs, written 1e6 too
    steps: float | None = None  # optimizer steps

    @property
    def kind(self) -> str:
        """Name of the limited quantity."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) != 1:
            names, listed = ", ".join(asdict(self)), ", ".join(given) or "none"
            raise InputError(f"budget needs exactly one limit of {names}; given: {listed}")
        ((name, value),) = given.items()
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise InputError(f"budget.{name}={value!r} is not a positive finite number")
        return name

    @property
    def limit(self) -> float:
        """The limit, in the unit of its name."""
        return float(getattr(self, self.kind))

    def progress(self, spent: Spent) -> float:
        """Share of the limit that is used; the last step may carry it above 1."""
        return getattr(spent, self.kind) / self.limit


@dataclass
class Training:
    """How all arms train. InputError for numbers that would fail later, or quietly go uphill."""

    batch: int = 64  # pairs a step
    lr: float = 1e-3  # largest learning rate
    beta1: float = 0.9  # of Adam; betas and decay are the paper's (section 5.1)
    beta2: float = 0.9  # of Adam
    weight_decay: float = 0.03  # of matrices, as in AdamW
    warmup: float = 0.05  # share of the budget, 0 to 1, in which the rate rises
    cooldown: float = 0.3  # share of the budget, 0 to 1, in which the rate falls
    ema_width: float = 0.10  # of the average of weights, relative to the training so far
    clip: float | None = None  # largest norm of the gradient; none: as in the official code
    precision: str = "fp32"  # of matrix products: fp32 or bf16
    compile: bool = False  # torch.compile
    recompute: bool = False  # blocks once more in the backward pass: less memory, not charged
    accumulate: int = 1  # parts of a batch that go through the network in turn: less memory
    checkpoint_seconds: float = 60.0  # seconds of the arm between checkpoints

    def __post_init__(self) -> None:
        for words, holds, names in (
            ("at least 1", lambda n: n >= 1, ["batch", "accumulate"]),
            ("a positive number", lambda n: 0 < n < math.inf, ["lr", "clip", "checkpoint_seconds"]),
            ("a finite number, not negative", lambda n: 0 <= n < math.inf, ["weight_decay"]),
            ("from 0 to 1", lambda n: 0 <= n <= 1, ["warmup", "cooldown"]),
            ("at least 0 and below 1", lambda n: 0 <= n < 1, ["beta1", "beta2"]),
            # No power profile is wider: see crossflow.optimizer.
            ("above 0 and below 0.288", lambda n: 0 < n < 12**-0.5, ["ema_width"]),
            ("fp32 or bf16", lambda word: word in ("fp32", "bf16"), ["precision"]),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise InputError(f"training.{name}={value}: must be {words}")
        if self.batch % self.accumulate:
            what = f"not a multiple of training.accumulate={self.accumulate}"
            raise InputError(f"training.batch={self.batch}: {what}")
        if self.warmup + self.cooldown > 1:
            raise InputError("training.warmup and training.cooldown exceed the whole budget")
