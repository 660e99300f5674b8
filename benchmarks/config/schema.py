"""Every field a command understands, with its default; the comments are what `--help` prints.

Hydra checks the types of these dataclasses, which may hold no `Literal`. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import Any, cast

from crossflow.budget import Budget, Training
from crossflow.errors import InputError

DEFAULT_FLOPS = 2e13  # the budget where nobody gives a limit

# The values a field of words takes. Some live in crossflow, behind torch; a test compares.
CHOICES: dict[str, tuple[str, ...]] = {
    "model": (
        *("T", "S", "B", "L", "XL", "H", "dit_s", "dit_b", "dit_l", "dit_xl", "dit_h"),
        *("dimr_70m", "dimr_150m", "dimr_300m", "dimr_500m", "dimr_1b"),
    ),
    "track": ("defaults", "tuned"),
    "tracker": ("none", "tensorboard", "wandb"),
    "parallel": ("ddp", "fsdp"),
    "sampling.precision": ("training", "fp32", "bf16"),
    "sampling.solver": ("euler", "heun", "midpoint", "euler_official", "dopri5"),
    "task.nonfinite": ("refuse", "bts"),
    "task.crop": ("none", "eigen", "garg", "kb_garg", "kb_eigen"),
}

_COUNTS = "task.limit task.train_limit task.validation_limit task.size task.scale "
_COUNTS += "sampling.steps sampling.batch sampling.curve"
_AMOUNT = "a finite number, not negative", lambda number: 0 <= number < math.inf
# What values must be, in words and as a test; those of `training` are crossflow's own.
RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **{name: (f"one of {', '.join(known)}", known.__contains__) for name, known in CHOICES.items()},
    **dict.fromkeys(_COUNTS.split(), ("at least 1", lambda number: number >= 1)),
    **dict.fromkeys(("sampling.guidance", "task.border"), _AMOUNT),
    "utilisation": ("above 0, at most 1", lambda share: 0 < share <= 1),
    # Every generator takes these, shifted streams included.
    "seed": (f"from 0 to {2**31 - 1}", lambda seed: 0 <= seed < 2**31),
}

# Fields of TaskConfig that all tasks read; of the others, and of weights, a task names its own.
COMMON = ("name", "limit", "split", "size", "train_limit", "validation_limit")
# Where results lie, what they ran on, who looks on; what plans assume: the same run elsewhere is
# the same run. And what `sample` alone reads.
PLACES = "out work trials device parallel resume tracker calibrate utilisation checkpoint".split()

_NO_ARM = "methods arm method_file model budget training track trials quick tracker check parallel "
_NO_ARM += "calibrate utilisation"
_ARMS = f"{_NO_ARM} sampling seed"
_TRAINING_DATA = "task.train_root task.train_limit task.validation_limit"
# Fields and sections that a command does not read. Typed, they are refused: their user would
# believe that they had worked. A preset's own are let be: it is written for `run`.
UNREAD = {
    "run": "predictions name export calibrate utilisation checkpoint",
    "plan": "predictions name export launcher checkpoint",
    "prepare": f"{_ARMS} out resume predictions name checkpoint",
    "prepare export=DIR": f"{_ARMS} {_TRAINING_DATA} out resume predictions name checkpoint",
    "evaluate": f"{_ARMS} {_TRAINING_DATA} export checkpoint",
    "sample": f"{_NO_ARM} {_TRAINING_DATA} task_file task.prompts sampling.curve out resume name "
    "export weights.inception weights.clip weights.lpips weights.spice",
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
    flip_test: bool = False  # depth is the mean with that of the flipped picture, flipped back
    border: int | None = None  # pixels cut from each side before PSNR and SSIM
    prompts: str | None = None  # GenEval's list of prompts, sampled beside the split
    standard_sums: bool = False  # sums of x0 get mean 0 and deviation 1, as in the official demo
    train_root: str | None = None  # folder of WebDataset shards in place of the training split


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
    precision: str = "training"  # of the network's products: that of training, fp32 or bf16
    curve: list[int] = field(default_factory=list)  # steps, [1,2,4], scored besides on validation


@dataclass
class Config:
    """One job."""

    task: TaskConfig = field(default_factory=TaskConfig)
    task_file: str | None = None  # a task of your own: a Python file with TASK and DEFAULTS
    methods: Any = "regression+flow_matching+crossflow"  # the arms: a+b or [a,b]
    # an option, see benchmarks.list; arm.NAME.method=METHOD makes a second arm of a method
    arm: dict[str, Any] = field(default_factory=dict)
    method_file: str | None = None  # a method of your own: a file with NAME, applies and method
    model: str = "T"  # size of the backbone
    budget: Budget = field(default_factory=Budget)
    training: Training = field(default_factory=Training)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    seed: int = 0  # of initial weights, order of data, noise
    track: str = "defaults"  # tuned: every arm has the learning rate that was best in its trials
    trials: str | None = None  # folder of their records (track=tuned; benchmarks/match/tuning.py)
    quick: bool = False  # tables then say "quick: not for comparison"
    out: str = "results/local"  # folder of records and predictions
    work: str = "runs"  # folder of encoded data, checkpoints and logs
    device: str = "auto"  # auto, cpu, cuda or cuda:N; plan: also one of its table, as H100
    parallel: str = "ddp"  # under torchrun; fsdp keeps weights and optimizer in shards
    resume: bool = True  # false trains and scores anew, under a run_id that ends in -2
    tracker: str = "none"  # where stats, configuration and scores are shown besides
    predictions: str | None = None  # folder or file of the predictions to score, or to draw
    name: str | None = None  # what the predictions are called in tables; else as their folder
    download: bool = False  # true lets a hub's name stand for a path of weights
    check: bool = False  # exit status 1 where a score misses its reference
    calibrate: bool = False  # measures this machine and the arms' steps, for this and later plans
    utilisation: float | None = None  # share of the matrix rate; null: as calibrated, else 0.4
    export: str | None = None  # folder for the scored split's sources and truth
    checkpoint: str | None = None  # weights of CrossFlow's authors, called as they released them


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
    return not any(f"{name}.".startswith(f"{unread}.") for unread in UNREAD[command].split())


def check(config: Config) -> None:
    """Refuses what types cannot; makes `methods` a list, `arm` flat, whole limits integers and
    sampling's precision a number format."""
    given = config.methods if isinstance(config.methods, list) else str(config.methods).split("+")
    config.methods = [str(name).strip() for name in given]
    if not given or len(set(config.methods)) < len(given):
        raise InputError(f"methods={'+'.join(config.methods)}: write a+b or [a,b], each name once")
    config.arm = dict(_arms(config.arm))
    for name, (words, holds) in RULES.items():
        value = attrgetter(name)(config)
        for part in value if isinstance(value, list) else [value]:
            if part is not None and not holds(part):
                raise InputError(f"{name}={value}: must be {words}")
    if config.sampling.precision == "training":
        config.sampling.precision = config.training.precision
    budget = config.budget
    if all(limit is None for limit in asdict(budget).values()):
        budget.flops = DEFAULT_FLOPS
    if budget.kind in ("samples", "steps"):
        if not budget.limit.is_integer():
            raise InputError(f"budget.{budget.kind}={budget.limit}: must be a whole number")
        setattr(budget, budget.kind, int(budget.limit))


def _arms(given: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(arm, its options). The dots of an arm's name made hydra nest it: what has leaves is one."""
    if options := {key: value for key, value in given.items() if not isinstance(value, dict)}:
        yield name, options
    for key, value in given.items():
        if isinstance(value, dict):
            yield from _arms(value, f"{name}.{key}" if name else str(key))
