"""The processes that train an arm together, as torchrun starts them; without it there is one.

Each takes its rows of the global batch; the first decides, and it alone writes. Weights are whole
in every process (DDP) or in shards (FSDP2); a checkpoint always holds them whole. What loads only
where it is used takes half a second, and some builds of torch lack it.
"""

from __future__ import annotations

import atexit
import gc
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crossflow.budget import Training
from crossflow.errors import AloneError, InputError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

PARALLEL = ("ddp", "fsdp")
_BY_TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")
# The first process may score for hours while the others wait; torchrun ends all when one fails.
PATIENCE = timedelta(days=7)
GRACE = timedelta(seconds=30)  # for all to arrive where one has failed
_groups: dict[str, Any] = {}  # of processes, by what travels in it; none before `join`

Value = TypeVar("Value")


def join(device: torch.device) -> None:
    """Makes torchrun's processes one group, once, until they end; without torchrun nothing.

    InputError where one of the variables that torchrun sets is there, and others are not.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or _groups:
        return
    if lacking := [name for name in _BY_TORCHRUN if name not in os.environ]:
        what = f"WORLD_SIZE={os.environ['WORLD_SIZE']} without {', '.join(lacking)}"
        raise InputError(f"{what}: start processes by torchrun, or unset WORLD_SIZE")
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.set_device(device)
    # What is decided travels by gloo from memory, never through a GPU's queue.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    _groups["all"] = dist.group.WORLD
    _groups["failures"] = dist.new_group(backend="gloo", timeout=GRACE)  # where they meet
    _groups["shards"] = dist.new_group(timeout=PATIENCE)
    atexit.register(_leave)


def _leave() -> None:
    """Ends the threads of the groups, of which one still at work while Python ends would abort it.
    FSDP keeps its group for good: it has one of its own, at rest since the last checkpoint."""
    _groups.clear()
    gc.collect()
    dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _groups else 1


def rank() -> int:
    """This process's number; the first is 0."""
    return dist.get_rank() if _groups else 0


def share(count: int) -> range:
    """This process's part of so many things in a row, as equal as can be."""
    return range(rank() * count // size(), (rank() + 1) * count // size())


def from_first(value: Value) -> Value:
    """The first process's value, in all of them."""
    values = [value]
    if size() > 1:
        dist.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def decided(number: float) -> float:
    """A number of the first process, in all: ten times as fast as `from_first`, for every step."""
    if size() == 1:
        return number
    numbers = torch.tensor([number], dtype=torch.float64)
    dist.broadcast(numbers, 0)
    return numbers.item()


def largest(number: int) -> int:
    """Over processes, at the cost of `decided`."""
    numbers = torch.tensor([number])
    if size() > 1:
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers)


def gathered(value: Value) -> list[Value]:
    """Every process's value, in order, in the first process; elsewhere nothing."""
    if size() == 1:
        return [value]
    values: list[Any] | None = [None] * size() if rank() == 0 else None
    dist.gather_object(value, values)
    return values or []


@contextmanager
def alike(device: torch.device, *place: object) -> Iterator[None]:
    """What fails inside has failed in all processes, at the same place and after as many exchanges;
    else AloneError, in those that failed."""
    try:
        yield
    except Exception as error:
        if size() == 1:
            raise
        places: list[Any] = [None] * size()
        groups, kinds = (_groups["all"], _groups["shards"]), ("cpu", device.type)
        backends = (group._get_backend(torch.device(kind)) for group in groups for kind in kinds)
        exchanges = [backend._get_sequence_number_for_group() for backend in backends]
        try:
            dist.monitored_barrier(_groups["failures"], GRACE)
            dist.all_gather_object(places, (place, exchanges), _groups["failures"])
            together = all(other == places[0] for other in places)
        except RuntimeError:  # the others do not come
            together = False
        if not together:
            raise AloneError(f"{error} (in process {rank()} of {size()} alone)") from error
        raise


def mean(values: Tensor) -> Tensor:
    """Over processes; `values` itself in one."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= size()
    return values


def mean_terms(total: Tensor, terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss and its parts, each the mean over processes."""
    if size() == 1:
        return total, terms
    means = mean(torch.stack([total, *terms.values()]))
    return means[0], dict(zip(terms, means[1:], strict=True))


class _AllRows(torch.autograd.Function):
    """Rows of all processes in their order. The gradient of a row is the sum of what all make of
    it, each of which takes a share: DDP and FSDP average over processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(size())[rank()]


def all_rows(rows: Tensor) -> Tensor:
    """The global batch of what each process has its own rows of; gradients come back to them."""
    return rows if size() == 1 else _AllRows.apply(rows)


def differing(module: nn.Module) -> list[str]:
    """Names of the buffers that are not the same in all processes."""
    names = list[str]()
    for name, buffer in module.named_buffers() if size() > 1 else ():
        first = buffer.detach().clone()
        dist.broadcast(first, 0)
        names += [] if torch.equal(first, buffer) else [name]
    return sorted({name for each in from_first(gathered(names)) for name in each})


def spread(arm: Any, how: str, device: torch.device) -> nn.Module:
    """What is called in place of an arm, so that every process has the mean gradient.

    fsdp: weights, gradients and moments are kept in shards; blocks are gathered one by one.
    """
    if size() == 1:
        return arm
    if how == "fsdp":
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.fsdp import fully_shard

        mesh = DeviceMesh.from_group(_groups["shards"], device.type)
        for part in (*arm.net.blocks, arm):
            fully_shard(part, mesh=mesh)
        return arm
    with warnings.catch_warnings():  # of broadcast_buffers, for which torch has no other word yet
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            arm,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=len(arm.method.stages) > 1,  # some rest for a whole stage
        )


def _in_shards(tensor: Tensor) -> TypeGuard[DTensor]:
    if size() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor in shards; another tensor as it is."""
    return tensor.to_local() if _in_shards(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor in shards, in every process; another tensor as it is."""
    return tensor.full_tensor() if _in_shards(tensor) else tensor


def whole_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of all tensors of a module or an optimizer."""
    return {name: whole(tensor) for name, tensor in state.items()}


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, cut as `other` is."""
    if not _in_shards(other) or tensor.shape != other.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def state_like(state: Mapping[str, Tensor], shards: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of all tensors, by their names."""
    return {name: like(tensor, shards[name]) for name, tensor in state.items()}


def moments_like(
    groups: Mapping[str, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The same of a checkpoint's groups `optimizer/N`, by N, a parameter's number."""
    shards = [shard for group in optimizer.param_groups for shard in group["params"]]
    numbered = {int(name.split("/")[1]): values for name, values in groups.items()}
    return {n: {k: like(v, shards[n]) for k, v in part.items()} for n, part in numbered.items()}


def divided(training: Training, parallel: str) -> range:
    """This process's rows of a batch. InputError where they or their chunks cannot be equally many,
    or where weights are whole for the forward pass of a chunk only."""
    batch, chunks = training.batch, training.accumulate
    if batch % (size() * chunks):
        parts = f"{size()} processes" + f" times training.accumulate={chunks}" * (chunks > 1)
        raise InputError(f"training.batch={batch}: not a multiple of the {parts}")
    if chunks > 1 and size() > 1 and parallel == "fsdp":
        hint = "use parallel=ddp, or training.recompute=true"
        raise InputError(f"training.accumulate={chunks}: not with parallel=fsdp; {hint}")
    return share(batch)
