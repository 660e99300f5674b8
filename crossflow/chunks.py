"""A batch through the network in chunks of rows, so that one larger than memory trains.

What relates rows (encoder, charges, null rows, draws) sees the whole batch; the network relates
none, and is where the memory goes. The loss of a chunk is differentiated as soon as it is there,
and its activations are gone before the next chunk: what waits for the backward pass is the sum of
the gradients, as large as the weights. `torch.utils.checkpoint` over chunks would be shorter, but
repeat each forward pass: a third of the products, in seconds that no count of FLOPs shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Loss = Callable[..., Float[Tensor, ""]]


class _Summed(torch.autograd.Function):
    """The sum of losses. That of each by `leaves`, which stand for `inputs`, is taken at once, so
    that DDP sees every weight's gradient once, whole, in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, losses: Iterator[Tensor], leaves: Sequence[Tensor], *inputs: Tensor
    ) -> Tensor:
        values, sums = list[Tensor](), dict[int, Tensor]()
        with torch.enable_grad():
            for loss in losses:
                values.append(loss.detach())
                for i, gradient in enumerate(torch.autograd.grad(loss, leaves, allow_unused=True)):
                    if gradient is not None:  # cloned, as it may be that of another leaf too
                        sums[i] = sums[i].add_(gradient) if i in sums else gradient.clone()
        ctx.sums = [sums.get(i) for i in range(len(leaves))]
        return torch.stack(values).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sums, ctx.sums = ctx.sums, None  # what nobody else holds becomes the gradient, uncopied
        return None, None, *(None if each is None else each.mul_(gradient) for each in sums)


def in_chunks(
    loss: Loss, rows: Sequence[Tensor | None], parameters: Iterable[Tensor], chunks: int
) -> Float[Tensor, ""]:
    """`loss(*rows)`, a mean over rows, as one of so many chunks of them, one after the other.

    parameters: of what `loss` calls. Gradients, of the first order, reach them and `rows`.
    """
    if chunks == 1:
        return loss(*rows)
    leaves = [x.detach().requires_grad_() if _learns(x) else x for x in rows]
    losses = _losses(loss, leaves, chunks)
    learned = [p for p in parameters if p.requires_grad]
    inputs = [*filter(_learns, rows), *learned]
    if not (inputs and torch.is_grad_enabled()):
        return torch.stack([*losses]).sum()
    return _Summed.apply(losses, [*filter(_learns, leaves), *learned], *inputs)


def _learns(x: Tensor | None) -> TypeGuard[Tensor]:
    return x is not None and x.requires_grad


def _losses(loss: Loss, rows: Sequence[Tensor | None], chunks: int) -> Iterator[Tensor]:
    """Of each chunk, by its share of the rows."""
    batch = next(len(x) for x in rows if x is not None)
    counts = [len(part) for part in torch.arange(batch).chunk(chunks)]
    splits = [[None] * len(counts) if x is None else x.split(counts) for x in rows]
    for count, *part in zip(counts, *splits, strict=True):
        yield loss(*part) * (count / batch)
