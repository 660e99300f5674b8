"""Repeatable arithmetic: what a training step computes depends on (seed, step) alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Makes what runs inside depend on (seed, step) alone; global settings are put back after.

    Named draws do not use the global generator, but dropout does: it is seeded anew for each step
    (as EDM2 does), so that nothing has to be saved. Algorithms are deterministic: on a CPU nearly
    all are anyway; on a GPU cuBLAS, attention and scatter need it, and an operator that has no
    deterministic form raises. Filling fresh memory with NaN, a debugging aid, stays off.
    """
    devices = [device] if device.type == "cuda" else []
    was = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed * 1_000_003 + step)
            yield
    finally:
        torch.use_deterministic_algorithms(was)
        memory.fill_uninitialized_memory = filled
