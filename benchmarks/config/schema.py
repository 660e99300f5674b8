"""Every field a command understands, with its default; the comments are what `--help` prints.

Plain dataclasses, whose types hydra checks; what types cannot say stands in CHOICES and RULES. They
must not be frozen (OmegaConf would refuse every override) and know no `Literal`. No torch here:
`benchmarks.list` reads this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import Any, cast

from crossflow.budget import Budget, Training
from crossflow.errors import InputError

LIMITS = tuple(limit.name for limit in fields(Budget))
DEFAULT_METHODS = "regression+flow_matching+crossflow"
DEFAULT_FLOPS = 2e13  # the budget where nobody gives a limit
LARGEST_SEED = 2**31 - 1  # what every generator takes, shifted streams included

# The values a field of words takes. Some live in crossflow, behind torch; a test compares.
CHOICES = {
    "model": ("T", "S", "B", "L", "XL", "H"),
    "track": ("defaults", "tuned"),
    "tracker": ("none", "tensorboard", "wandb"),
    "sampling.solver": ("euler", "heun", "midpoint", "dopri5"),
    "task.nonfinite": ("refuse", "bts"),
    "task.crop": ("none", "eigen", "garg", "kb_garg", "kb_eigen"),
}

# What numbers must be; those of `training` are crossflow's own.
RULES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "at least 1",
        lambda number: number >= 1,
        (
            *("task.limit", "task.train_limit", "task.validation_limit", "task.size", "task.scale"),
            *("sampling.steps", "sampling.batch"),
        ),
    ),
    (
        "a finite number, not negative",
        lambda number: 0 <= number < math.inf,
        ("sampling.guidance", "task.border"),
    ),
    (f"from 0 to {LARGEST_SEED}", lambda seed: 0 <= seed <= LARGEST_SEED, ("seed",)),
)

# Fields of a task that all tasks read; of the others, and of weights, a task names what it uses.
COMMON = (
    *("task", "task.limit", "task.split", "task.size"),
    *("task.train_limit", "task.validation_limit"),
)
# Where results lie, what they ran on, who looks on: the same run elsewhere is the same run.
PLACES = ("out", "work", "device", "resume", "tracker")

_TRAINING = (
    *("methods", "arm", "method_file", "model", "budget", "training", "sampling", "seed", "track"),
    *("quick", "tracker", "check"),
)
_TRAINING_DATA = ("task.train_root", "task.train_limit", "task.validation_limit")
_RECORDS = ("out", "resume", "predictions", "name")
# Fields and sections that a command does not read. Typed, they are refused: their user would
# believe that they had worked. A preset's own are let be: it is written for `run`.
UNREAD = {
    "run": ("predictions", "name", "export"),
    "prepare": (*_TRAINING, *_RECORDS),
    "prepare export=DIR": (*_TRAINING, *_TRAINING_DATA, *_RECORDS),
    "evaluate": (*_TRAINING, *_TRAINING_DATA, "export"),
}


@dataclass
class TaskConfig:
    """Which data. One schema for all tasks; null is the task's own default."""

    name: str = "depth_tabletop"  # which data, and by which protocol they are scored
    root: str | None = None  # folder of the data (real tasks)
    limit: int | None = None  # at most this many scored items
    split: str | None = None  # which items are scored
    split_file: str | None = None  # a list of items in the data set's own format
    size: int | None = None  # side of the target in pixels
    scale: int | None = None  # downsampling factor (super-resolution)
    nonfinite: str = "refuse"  # bts clamps non-finite and negative depth as BTS does
    train_limit: int | None = None  # at most this many training items
    validation_limit: int | None = None  # at most this many validation items
    layout: str | None = None  # how the data lie under task.root, where several ways are published
    crop: str | None = None  # which pixels of a depth map count
    # depth is the mean of the prediction and the flipped prediction for the flipped picture
    flip_test: bool = False
    border: int | None = None  # pixels cut from each side before PSNR and SSIM
    prompts: str | None = None  # GenEval's list of prompts, sampled beside the split
    # folder of WebDataset shards, trained on in place of the training split
    train_root: str | None = None


@dataclass
class WeightsConfig:
    """Frozen networks that are not shipped. What is null is not used: its scores are missing."""

    autoencoder: str | None = None  # diffusers autoencoder, in whose latents the flow runs
    text_encoder: str | None = None  # CLIP or T5 (transformers), whose tokens are the source
    inception: str | None = None  # torch-fidelity's Inception, for FID, KID and IS
    clip: str | None = None  # open_clip weights, for the CLIP score
    lpips: str | None = None  # folder of LPIPS weights
    spice: str | None = None  # folder with the CoreNLP jars of SPICE


@dataclass
class SamplingConfig:
    """How test items are sampled."""

    steps: int = 25  # of a fixed-grid solver
    solver: str = "heun"  # of the flow's differential equation
    guidance: float | None = None  # weight; null: the best of a grid on the validation items
    batch: int = 64  # items sampled at once
    # numbers of steps, [1,2,4], at which validation items are scored besides: quality against cost
    curve: list[int] = field(default_factory=list)


@dataclass
class Config:
    """One job."""

    task: TaskConfig = field(default_factory=TaskConfig)
    task_file: str | None = None  # a task of your own: a Python file with TASK and DEFAULTS
    methods: Any = DEFAULT_METHODS  # the arms: a+b or [a,b]; a list after `check`
    # an option of an arm, arm.crossflow.kl_weight=1; arm.NAME.method=METHOD makes a second arm
    # of a method; `python -m benchmarks.list` shows the options
    arm: dict[str, Any] = field(default_factory=dict)
    # a method of your own: a Python file with NAME, applies(problem) and method(problem, size)
    method_file: str | None = None
    model: str = "T"  # size of the backbone
    budget: Budget = field(default_factory=Budget)
    training: Training = field(default_factory=Training)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    seed: int = 0  # of initial weights, order of data, noise
    track: str = "defaults"  # whether arms may be tuned
    quick: bool = False  # tables then say "quick: not for comparison"
    out: str = "results/local"  # folder of records and predictions
    work: str = "runs"  # folder of encoded data, checkpoints and logs
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    resume: bool = True  # false trains and scores anew, under a run_id that ends in -2
    tracker: str = "none"  # where stats, configuration and scores are shown besides
    predictions: str | None = None  # folder or file of the predictions to score
    name: str | None = None  # what the predictions are called in tables; else as their folder
    download: bool = False  # true lets a hub's name stand for a path of weights
    check: bool = False  # exit status 1 where a score misses its reference
    export: str | None = None  # folder for the scored split's sources and truth


def leaves(of: type = Config, prefix: str = "") -> Iterator[tuple[str, type, Field[Any]]]:
    """(name as it is typed, dataclass, field) of every field, sections walked through."""
    for item in fields(of):
        name, section = prefix + item.name, cast(Any, item.default_factory)
        if is_dataclass(section):
            yield from leaves(cast(type, section), f"{name}.")
        else:
            yield "task" if name == "task.name" else name, of, item


def reads(command: str, name: str) -> bool:
    """Whether a command makes use of a field."""
    return not any(name == unread or name.startswith(f"{unread}.") for unread in UNREAD[command])


def check(config: Config) -> None:
    """Refuses what types cannot; makes `methods` a list, `arm` flat and whole limits integers.

    Raises InputError, one line that names the field and what is allowed.
    """
    config.methods = _method_list(config.methods)
    config.arm = dict(_arms(config.arm))
    _check_budget(config.budget)
    for name, allowed in CHOICES.items():
        value = attrgetter(name)(config)
        if value is not None and value not in allowed:
            raise InputError(f"{name}={value}: must be one of {', '.join(allowed)}")
    for words, holds, names in RULES:
        for name in names:
            number = attrgetter(name)(config)
            if number is not None and not holds(number):
                raise InputError(f"{name}={number}: must be {words}")
    if any(steps < 1 for steps in config.sampling.curve):
        raise InputError(
            f"sampling.curve={config.sampling.curve}: every number of steps at least 1"
        )


def check_fields(config: Config, uses: Sequence[str]) -> None:
    """InputError where an optional field was given that the task, which `uses` some, ignores."""
    for name, section, item in leaves():
        if section not in (TaskConfig, WeightsConfig) or name in (*COMMON, *uses):
            continue
        value = attrgetter(name)(config)
        if value != item.default:
            raise InputError(f"{name}={value}: {config.task.name} does not use it, leave it out")


def _method_list(given: Any) -> list[str]:
    """a+b or a list -> names, in the order given."""
    names = given.split("+") if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"methods={given}: write a+b or [a,b], at least one name")
    names = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"methods: {', '.join(twice)} is named twice")
    return names


def _arms(given: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(arm, its options). The dots of an arm's name made hydra nest it: what has leaves is one."""
    options = {key: value for key, value in given.items() if not isinstance(value, dict)}
    if options and not name:
        raise InputError(f"arm.{next(iter(options))}: write arm.NAME.OPTION=VALUE")
    if options:
        yield name, options
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _arms(value, f"{name}.{key}" if name else str(key))


def _check_budget(budget: Budget) -> None:
    if all(getattr(budget, name) is None for name in LIMITS):
        budget.flops = DEFAULT_FLOPS
    kind, limit = budget.kind, budget.limit
    if kind in ("samples", "steps"):
        if limit != int(limit):
            raise InputError(f"budget.{kind}={limit}: must be a whole number")
        setattr(budget, kind, int(limit))
