"""Every field a command understands, with its default. Plain dataclasses; hydra checks the types.

They must not be frozen (OmegaConf would refuse every override) and know no `Literal`; what types
cannot say, `check` says. No torch here: `benchmarks.list` reads this file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from crossflow.errors import InputError

# The names themselves live in crossflow, behind torch; a test compares.
MODELS = ("T", "S", "B", "L", "XL", "H")
PRECISIONS = ("fp32", "bf16")
SOLVERS = ("euler", "heun", "midpoint", "dopri5")
TRACKS = ("defaults", "tuned")
LIMITS = ("device_seconds", "flops", "samples", "steps")
NONFINITE = ("refuse", "bts")
TRACKERS = ("none", "tensorboard", "wandb")
CROPS = ("none", "eigen", "garg", "kb_garg", "kb_eigen")
DEFAULT_METHODS = "regression+flow_matching+crossflow"
DEFAULT_FLOPS = 2e13  # the budget where nobody gives a limit
LARGEST_SEED = 2**31 - 1  # what every generator takes, shifted streams included
LARGEST_EMA_WIDTH = 12**-0.5  # no power profile is wider: see crossflow.optimizer

# Fields that only some tasks read.
OPTIONAL = (
    *("task.root", "task.split_file", "task.scale", "task.nonfinite", "task.layout"),
    *("task.crop", "task.flip_test", "task.border", "task.prompts", "task.train_root"),
    *("weights.autoencoder", "weights.text_encoder", "weights.inception", "weights.clip"),
    *("weights.lpips", "weights.spice"),
)
# Where results lie, what they ran on, who looks on: the same run elsewhere is the same run.
PLACES = ("out", "work", "device", "resume", "tracker")


@dataclass
class TaskConfig:
    """Which data. One schema for all tasks; None means: the task's own default.

    root: folder of the data (real tasks). limit: use at most this many test items. split: which
    items are scored. split_file: a list file in the data set's own format. size: side of the
    target in pixels. scale: downsampling factor (super-resolution). nonfinite: "refuse", or "bts"
    to clamp non-finite and negative depth as BTS does. train_limit, validation_limit: at most this
    many training and validation items. layout: how the data lie under `root`, where a data set is
    published in several ways. crop: pixels of a depth map that count. flip_test: depth is the mean
    of the prediction and of the mirrored prediction for the mirrored image. border: pixels cut from
    each side before PSNR and SSIM. prompts: GenEval's list of prompts, sampled beside the split.
    train_root: WebDataset shards of captioned images, trained on in place of the training split.
    """

    name: str = "depth_tabletop"
    root: str | None = None
    limit: int | None = None
    split: str | None = None
    split_file: str | None = None
    size: int | None = None
    scale: int | None = None
    nonfinite: str = "refuse"
    train_limit: int | None = None
    validation_limit: int | None = None
    layout: str | None = None
    crop: str | None = None
    flip_test: bool = False
    border: int | None = None
    prompts: str | None = None
    train_root: str | None = None


@dataclass
class WeightsConfig:
    """Frozen networks that are not shipped: each a path, or, with download=true, a hub's name.

    autoencoder: image autoencoder (diffusers) whose latents the flow runs in. text_encoder: CLIP or
    T5 (transformers) whose tokens are the source. inception: torch-fidelity's Inception, for FID,
    KID and IS. clip: open_clip weights, for the CLIP score. lpips: folder of LPIPS weights.
    spice: folder with the CoreNLP jars of SPICE. What is None is not used: scores that need it are
    recorded as unavailable.
    """

    autoencoder: str | None = None
    text_encoder: str | None = None
    inception: str | None = None
    clip: str | None = None
    lpips: str | None = None
    spice: str | None = None


@dataclass
class BudgetConfig:
    """What an arm may spend in training: exactly one limit; the other three are measured.

    All None, as a preset with a limit of its own needs it, becomes flops=DEFAULT_FLOPS in `check`.
    device_seconds: train ledger times devices. flops: a multiply-add is 2, encoders charged.
    samples: training pairs. steps: optimizer steps.
    """

    device_seconds: float | None = None
    flops: float | None = None
    samples: float | None = None  # float, so that 1e6 is a number of samples too
    steps: float | None = None

    @property
    def kind(self) -> str:
        """The name of the one limit that is set."""
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            said = ", ".join(given) if given else "none"
            raise InputError(f"budget: give exactly one of {', '.join(LIMITS)}; given: {said}")
        return given[0]

    @property
    def limit(self) -> float:
        """The one limit, in the unit of its name."""
        return float(getattr(self, self.kind))


@dataclass
class TrainingConfig:
    """How all arms train. Rates follow the fraction of the budget spent, not the step.

    warmup, cooldown: fractions of the budget. ema_width: relative width of the weight average.
    clip: largest gradient norm, None for no clipping. checkpoint_seconds: wall time between
    checkpoints. The optimizer's betas and decay are the paper's (section 5.1).
    """

    batch: int = 64
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.9
    weight_decay: float = 0.03
    warmup: float = 0.05
    cooldown: float = 0.3
    ema_width: float = 0.10
    clip: float | None = None
    precision: str = "fp32"
    compile: bool = False
    checkpoint_seconds: float = 60.0


@dataclass
class SamplingConfig:
    """How test items are sampled. guidance: a weight, or None: the best of the grid on validation.

    steps: steps of a fixed-grid solver. batch: items sampled at once. curve: numbers of steps at
    which validation items are scored besides, for quality against network evaluations.
    """

    steps: int = 25
    solver: str = "heun"
    guidance: float | None = None
    batch: int = 64
    curve: list[int] = field(default_factory=list)


@dataclass
class Config:
    """One job. `methods` is a list of names after `check`; on the command line a+b or [a,b]."""

    task: TaskConfig = field(default_factory=TaskConfig)
    methods: Any = DEFAULT_METHODS  # OmegaConf has no union of a string and a list
    method_file: str | None = None
    model: str = "T"
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    seed: int = 0
    track: str = "defaults"
    quick: bool = False  # tables then say "quick: not for comparison"
    out: str = "results/local"
    work: str = "runs"
    device: str = "auto"
    resume: bool = True
    tracker: str = "none"  # where stats, configuration and scores are mirrored besides
    predictions: str | None = None
    name: str | None = None
    download: bool = False
    check: bool = False
    export: str | None = None


def check(config: Config) -> None:
    """Refuses what types cannot; makes `methods` a list and whole limits integers.

    Raises InputError, one line that names the field and what is allowed.
    """
    config.methods = _method_list(config.methods)
    _check_budget(config.budget)
    for where, value, allowed in (
        ("model", config.model, MODELS),
        ("track", config.track, TRACKS),
        ("training.precision", config.training.precision, PRECISIONS),
        ("sampling.solver", config.sampling.solver, SOLVERS),
        ("task.nonfinite", config.task.nonfinite, NONFINITE),
        ("tracker", config.tracker, TRACKERS),
    ):
        if value not in allowed:
            raise InputError(f"{where}={value}: must be one of {', '.join(allowed)}")
    task, training, sampling = config.task, config.training, config.sampling
    if task.crop is not None and task.crop not in CROPS:
        raise InputError(f"task.crop={task.crop}: must be one of {', '.join(CROPS)}")
    if task.border is not None and task.border < 0:
        raise InputError(f"task.border={task.border}: must not be negative")
    for where, count in (
        ("task.limit", task.limit),
        ("task.train_limit", task.train_limit),
        ("task.validation_limit", task.validation_limit),
        ("task.size", task.size),
        ("task.scale", task.scale),
        ("training.batch", training.batch),
        ("sampling.steps", sampling.steps),
        ("sampling.batch", sampling.batch),
    ):
        if count is not None and count < 1:
            raise InputError(f"{where}={count}: must be at least 1")
    if config.name is not None and not re.fullmatch(r"(?!\.)[^/\\\x00-\x1f]{1,80}", config.name):
        raise InputError(f"name={config.name}: it names files: no slash, at most 80 characters")
    if not 0 <= config.seed <= LARGEST_SEED:
        limits = "must not be negative" if config.seed < 0 else f"at most {LARGEST_SEED}"
        raise InputError(f"seed={config.seed}: {limits}")
    if any(steps < 1 for steps in sampling.curve):
        raise InputError(f"sampling.curve={sampling.curve}: every number of steps at least 1")
    guidance = sampling.guidance
    if guidance is not None and not (math.isfinite(guidance) and guidance >= 0):
        raise InputError(f"sampling.guidance={guidance}: must be a finite number, not negative")
    _check_training(training)


def check_fields(config: Config, uses: Sequence[str]) -> None:
    """InputError where an optional field was given that the task, which `uses` some, ignores."""
    for name in OPTIONAL:
        section, _, item = name.partition(".")
        holder = getattr(config, section)
        value = getattr(holder, item)
        if name not in uses and value != getattr(type(holder)(), item):
            raise InputError(f"{name}={value}: {config.task.name} does not use it, leave it out")


def _check_training(training: TrainingConfig) -> None:
    """Numbers with which training would fail after its start, or quietly go uphill."""
    for where, number in (
        ("lr", training.lr),
        ("clip", training.clip),  # a negative norm would turn the gradient round
        ("checkpoint_seconds", training.checkpoint_seconds),
    ):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise InputError(f"training.{where}={number}: must be a positive number")
    for where, share in (("warmup", training.warmup), ("cooldown", training.cooldown)):
        if not 0 <= share <= 1:
            raise InputError(f"training.{where}={share}: a fraction of the budget, from 0 to 1")
    if training.warmup + training.cooldown > 1:
        raise InputError("training.warmup and training.cooldown together exceed the whole budget")
    for where, beta in (("beta1", training.beta1), ("beta2", training.beta2)):
        if not 0 <= beta < 1:
            raise InputError(f"training.{where}={beta}: must be at least 0 and below 1")
    if not (math.isfinite(training.weight_decay) and training.weight_decay >= 0):
        raise InputError(
            f"training.weight_decay={training.weight_decay}: must be a finite number, not negative"
        )
    if not 0 < training.ema_width < LARGEST_EMA_WIDTH:
        raise InputError(
            f"training.ema_width={training.ema_width}: must be above 0 and below 0.288"
        )


def _method_list(given: Any) -> list[str]:
    """a+b or a list -> names, in the order given."""
    names = given.split("+") if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"methods={given}: write a+b or [a,b]")
    names = [name.strip() for name in names]
    if not names or not all(names):
        raise InputError("methods: at least one name, none of them empty; write a+b or [a,b]")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"methods: {', '.join(twice)} is named twice")
    return names


def _check_budget(budget: BudgetConfig) -> None:
    if all(getattr(budget, name) is None for name in LIMITS):
        budget.flops = DEFAULT_FLOPS
    kind = budget.kind
    limit = getattr(budget, kind)
    if not math.isfinite(limit) or limit <= 0:
        raise InputError(f"budget.{kind}={limit}: must be a positive, finite number")
    if kind in ("samples", "steps"):
        if limit != int(limit):
            raise InputError(f"budget.{kind}={limit}: must be a whole number")
        setattr(budget, kind, int(limit))


def known_fields(of: type = Config, prefix: str = "") -> list[str]:
    """All fields with their dotted names, as they are written on the command line."""
    names = []
    for item in fields(of):
        name = prefix + item.name
        names.append(name)
        if item.name in _SECTIONS and not prefix:
            names.extend(known_fields(_SECTIONS[item.name], prefix=f"{name}."))
    return names


_SECTIONS: dict[str, type] = {
    "task": TaskConfig,
    "budget": BudgetConfig,
    "training": TrainingConfig,
    "sampling": SamplingConfig,
    "weights": WeightsConfig,
}
