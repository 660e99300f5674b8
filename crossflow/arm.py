"""Arms: a method with its options, and its network, matched to the reference arm of the problem.

The reference is `crossflow` with the named backbone. Another method gets the depth and MLP width
for which parameters at inference and FLOPs per network evaluation are within 5 % of the
reference's; where both cannot hold, the FLOPs.

FLOPs are counted by torch.utils.flop_counter: a multiply-add is 2; matrix products, convolutions
and attention (in full, whatever its mask) count, element-wise work does not; a recomputed
activation counts again, but not what `training.recompute` repeats.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from crossflow import crossflow
from crossflow.draws import StepDraws
from crossflow.errors import InputError, right_names
from crossflow.method import Loss, Method
from crossflow.network import SIZES, Backbone, DiMRSize, Size, parameters_of
from crossflow.nulls import LEAST_BATCH
from crossflow.path import PATHS, TIMES
from crossflow.problem import Pair, Problem, Source, TokenShape

TOLERANCE = 0.05
HIDDEN_STEP = 8  # the MLP's width stays a multiple of this
LAWS: dict[str, tuple[str, Mapping[str, Any]]]
LAWS = {"path": ("interpolant", PATHS), "times": ("time_law", TIMES)}
MethodFile = Any  # a module that defines NAME, applies, method and, where it has some, Options
Make = Callable[[Size], tuple[Method, Backbone]]
Counted = TypeVar("Counted")


@dataclass
class CommonOptions:
    """Options of every arm. None: what the method sets for itself, or the training settings."""

    path: str | None = None  # from x0 to x1: linear or sin_cos
    times: str | None = None  # law of the training times: logit_normal or uniform
    lr: float | None = None  # peak learning rate
    weight_decay: float | None = None  # of matrices


COMMON = tuple(field.name for field in fields(CommonOptions))


@dataclass(frozen=True)
class Cost:
    """Parameters and FLOPs of an arm."""

    params_inference: int  # network, its weak copy if any, and what samples with it
    params_encoder: int  # of these, what is not the network: source encoder or condition trunk
    params_trained: int  # also what only training uses
    flops_eval: int  # one network evaluation of one sample
    flops_source: int  # encoder or trunk, once a sample
    flops_train: float  # one training step of the last stage, a sample


class Arm(nn.Module):
    """A method and its network. Its state dict has the prefixes `net.` and `method.`."""

    model: str  # name of the backbone's size before matching; `size` is that after it
    options: dict[str, Any]  # as resolved, with the path and time law the method set for itself
    params_ratio: float  # of parameters at inference, to those of the reference arm
    flops_ratio: float  # of FLOPs of a network evaluation

    def __init__(self, name: str, method: Method, net: Backbone, size: Size, batch: int) -> None:
        super().__init__()
        self.name, self.method, self.net, self.size = name, method, net, size
        flops_source, flops_eval = count_sampling(net, method)
        networks = 2 if method.weak_at < 1 else 1  # the weak copy guides beside it
        self.cost = Cost(
            params_inference=networks * parameters_of(net) + method.parameters_at_inference(),
            params_encoder=method.parameters_at_inference(),
            params_trained=parameters_of(self),
            flops_eval=flops_eval,
            flops_source=flops_source,
            flops_train=count_training(net, method, batch),
        )
        # Of a training step of each stage, a sample.
        early = (count_training(net, method, batch, i) for i in range(len(method.stages) - 1))
        self.flops_stages = (*early, self.cost.flops_train)

    def forward(self, pair: Pair, draws: StepDraws) -> Loss:
        """The loss of a batch: what is spread over processes is called as one module."""
        return self.method.loss(self.net, pair, draws)

    @property
    def laws(self) -> dict[str, str]:
        """Names of path and time law; `own` where the method defines another."""
        return {
            option: "own" if _overrides(self.method, option) else getattr(self.method, attribute)
            for option, (attribute, _) in LAWS.items()
        }

    def flops_sample(self, nfe: int) -> int:
        """FLOPs of one sample with `nfe` network evaluations."""
        return self.cost.flops_source + nfe * self.cost.flops_eval


def resolve_options(module: MethodFile, given: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """An arm's options, the method's defaults filled in. InputError for wrong names and values."""
    own = getattr(module, "Options", None)
    kinds = get_type_hints(CommonOptions) | ({} if own is None else get_type_hints(own))
    for option, value in given.items():
        where = f"arm.{arm}.{option}"
        if option not in kinds:
            raise InputError(f"{where}: unknown. {right_names(option, kinds)}")
        if not _is_a(value, kinds[option]):
            kind = kinds[option].__name__ if isinstance(kinds[option], type) else kinds[option]
            raise InputError(f"{where}={value}: must be {kind}, and finite")
        if option in LAWS and value is not None and value not in LAWS[option][1]:
            raise InputError(f"{where}={value}: unknown. {right_names(value, LAWS[option][1])}")
        file = value if own and option == "init" and issubclass(own, crossflow.Options) else None
        if file is not None and not Path(file).expanduser().is_file():  # before data are prepared
            raise InputError(f"{where}={value}: no such file")
        least = {"lr": math.ulp(0), "weight_decay": 0}.get(option)
        if least is not None and value is not None and value < least:
            raise InputError(f"{where}={value}: must be positive")
    defaults = {} if own is None else asdict(own())
    return defaults | {o: v for o, v in given.items() if o not in COMMON or v is not None}


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type, where that is a plain one, a Literal or a union."""
    if get_origin(kind) in (Union, UnionType):
        return any(_is_a(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, get_origin(kind) or kind)


def _overrides(method: Method, name: str) -> bool:
    return getattr(type(method), name) is not getattr(Method, name)


def build_arm(
    module: MethodFile,
    problem: Problem,
    model: str,
    *,
    seed: int = 0,
    batch: int = 64,
    options: Mapping[str, Any] = MappingProxyType({}),
    name: str | None = None,
    device: str = "cpu",
) -> Arm:
    """The arm of a method file on a problem, matched to the reference.

    model: name of the backbone's size. seed: of the initial weights. batch: training rows, for the
    FLOPs of a training step. options: of the method and of every arm; what a method sets for itself
    stands unless they say otherwise. name: of the arm; None: the method's. device: where its
    weights are made; "meta": nowhere, for what it would cost.

    Raises InputError for unknown names, options that this arm would ignore, a method that does not
    apply, and a batch that cannot hold the problem's null rows.
    """
    name = name or module.NAME
    if model not in SIZES:
        raise InputError(f"model={model}: unknown. {right_names(model, SIZES)}")
    resolved = resolve_options(module, options, name)
    if (reason := module.applies(problem)) is not None:
        raise InputError(f"method {module.NAME} does not apply: {reason}")
    if problem.null_rate > 0 and batch < LEAST_BATCH:
        raise InputError(f"training.batch={batch}: null rows need a batch of {LEAST_BATCH} or more")
    named, own = SIZES[model], {o: v for o, v in resolved.items() if o not in COMMON}
    make, reference = partial(_modules, module, problem, named, own), _reference(problem, named)
    matched = named if module is crossflow else _matched_size(make, named, reference)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        method, net = make(matched)
    for option, value in options.items():
        if option in method.ignored or (option in LAWS and _overrides(method, option)):
            raise InputError(f"arm.{name}.{option}={value}: would be ignored here, leave it out")
        if option in LAWS and value is not None:
            setattr(method, LAWS[option][0], value)
    arm = Arm(name, method, net, method.size or matched, batch)
    chosen = {o: law for o, law in arm.laws.items() if law not in ("linear", "logit_normal", "own")}
    arm.model, arm.options = model, resolved | method.settled | chosen
    arm.params_ratio = arm.cost.params_inference / reference[0]
    arm.flops_ratio = arm.cost.flops_eval / reference[1]
    return arm


def _modules(
    module: MethodFile, problem: Problem, named: Size, options: dict[str, Any], matched: Size
) -> tuple[Method, Backbone]:
    # The encoder's width follows the named size, the backbone is the matched one.
    method = module.method(problem, named, **options)
    return method, method.network(matched)


@lru_cache
def _reference(problem: Problem, named: Size) -> tuple[float, float]:
    return _probe(partial(_modules, crossflow, problem, named, {}), named)


def _probe(make: Make, size: Size) -> tuple[float, float]:
    """What arms are matched on: parameters at inference, FLOPs of a network evaluation."""

    def count(device: str) -> tuple[float, float]:
        with torch.device(device):
            method, net = make(size)
        params = parameters_of(net) + method.parameters_at_inference()
        return params, count_sampling(net, method)[1]

    return _on_meta_or_real(count)


def _matched_size(make: Make, named: Size, reference: tuple[float, float]) -> Size:
    """Depth, then MLP width, of the backbone that costs what the reference costs.

    Of the depths whose best error is within 5 %, the one that distorts the MLP ratio least, else
    the size nearest in FLOPs. Costs are affine in depth and in depth x width: three probes do.
    """
    step = 2 if isinstance(named, DiMRSize) else 1  # the depth of a DiMR's stage is odd
    base, deep, wide = (
        _probe(make, replace(named, depth=depth, hidden=hidden))
        for depth, hidden in ((1, 1), (1 + step, 1), (1, 2))
    )

    def errors(depth: int, hidden: int) -> tuple[float, float]:
        """Relative deviation: the larger of both, and that of FLOPs alone."""
        params, work = (
            (b + (depth - 1) / step * (d - b) + depth * (hidden - 1) * (w - b)) / r
            for b, d, w, r in zip(base, deep, wide, reference, strict=True)
        )
        return max(abs(params - 1), abs(work - 1)), abs(work - 1)

    widths = range(HIDDEN_STEP, 2 * named.hidden + 1, HIDDEN_STEP)
    depths = range(1, 2 * named.depth + 1, step)
    fits = [min(((d, h) for h in widths), key=lambda fit: errors(*fit)[0]) for d in depths]
    within = [fit for fit in fits if errors(*fit)[0] <= TOLERANCE]
    if within:
        depth, hidden = min(within, key=lambda fit: abs(math.log(fit[1] / named.hidden)))
    else:
        every = ((d, h) for d in depths for h in widths)
        depth, hidden = min(every, key=lambda fit: errors(*fit)[::-1])
    return replace(named, depth=depth, hidden=hidden)


def count_sampling(net: Backbone, method: Method) -> tuple[int, int]:
    """Forward FLOPs for one sample: of what runs once, and of one network evaluation."""

    def evaluate(net: Backbone, method: Method, pair: Pair, draws: StepDraws) -> None:
        ends = method.sample_ends(pair.source, draws)
        time = torch.zeros(len(ends.x0), device=ends.x0.device)
        net(ends.x0, time, ends.cond, ends.null, ends.cond_mask)

    once = _flops(lambda net, m, pair, draws: m.sample_ends(pair.source, draws), net, method)
    return int(once), int(_flops(evaluate, net, method) - once)


def count_training(net: Backbone, method: Method, batch: int, stage: int = -1) -> float:
    """FLOPs of a training step, forward and backward, with encoder and charges, a sample."""

    def step(net: Backbone, method: Method, pair: Pair, draws: StepDraws) -> None:
        method.loss(net, pair, draws).total.backward()

    return _flops(step, net, method, batch, stage)


def _flops(
    work: Callable[..., object], net: Backbone, method: Method, batch: int = 1, stage: int = -1
) -> float:
    """FLOPs a row of `work(net, method, pair, draws)` on copies of the modules."""

    def count(device: str) -> float:
        rows = batch if device == "meta" else min(batch, LEAST_BATCH)
        copies = [copy.deepcopy(module).to(device) for module in (net, method)]
        pair = example_pair(method.problem, rows, device)
        draws = StepDraws(0, 0, range(rows), rows, stage)
        with FlopCounterMode(display=False) as counter:
            work(*copies, pair, draws)
        return counter.get_total_flops() / rows

    return _on_meta_or_real(count)


def _on_meta_or_real(count: Callable[[str], Counted]) -> Counted:
    """`count("meta")`; of a method that cannot run there (scipy, `.item()`) `count("cpu")`."""
    try:
        return count("meta")
    except Exception:  # a true mistake raises again
        # The plain form of attention, as on the meta device: fused kernels recompute some products.
        with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
            return count("cpu")


def example_pair(problem: Problem, rows: int, device: str) -> Pair:
    """A batch of the problem's shapes with random content, every row another image."""
    shape = problem.source
    with torch.device(device):
        target, source = torch.randn(rows, *problem.target.sizes), torch.randn(rows, *shape.sizes)
        mask = None
        if isinstance(shape, TokenShape):
            mask = torch.ones(rows, shape.length, dtype=torch.bool)
            if shape.vocabulary is not None:
                source = torch.randint(shape.vocabulary, (rows, shape.length))
        spoken, words = problem.words, None
        if spoken is not None:
            words = torch.randint(spoken.vocabulary or 1, (rows, spoken.length))
    return Pair(Source(source, mask), target, torch.arange(rows, device="cpu"), words)
