"""Validation items: cut from the training split by group, never from the test split.

And nothing of the test split is trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.data.images import first_few, spread
from crossflow.errors import InputError

T = TypeVar("T")
SHARE = 20  # one item in so many, at least one group
LARGEST = 500


def refuse_shared(both: Sequence[str], what: str) -> None:
    """InputError that names what is both scored and trained on, where there is any.

    what: their kind, frames or photographs.
    """
    if both:
        raise InputError(
            f"{len(both)} {what} are scored and in the training split too: {first_few(both)}"
        )


def cut(
    items: Sequence[T],
    group: Callable[[T], str],
    train_limit: int | None,
    validation_limit: int | None,
) -> tuple[list[T], list[T]]:
    """(training, validation) items, in their order; no group (scene, image) is in both.

    Groups leave for validation in the order of the hash of their name until one item in 20 (at
    least 2, at most 500) has left: the cut does not depend on how the list is sorted. Limits then
    take evenly spaced items of each part. Raises InputError where there is but one group.
    """
    groups = sorted({group(item) for item in items}, key=_order)
    if len(groups) < 2:
        raise InputError(
            f"the training split has {len(groups)} scene or image: validation is cut from it by "
            "scene or image, give at least two"
        )
    wanted = min(LARGEST, max(2, len(items) // SHARE))
    counts = dict.fromkeys(groups, 0)
    for item in items:
        counts[group(item)] += 1
    leaving: set[str] = set()
    for name in groups[:-1]:
        if sum(counts[other] for other in leaving) >= wanted:
            break
        leaving.add(name)
    train = [item for item in items if group(item) not in leaving]
    validation = [item for item in items if group(item) in leaving]
    return spread(train, train_limit), spread(validation, validation_limit)


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
