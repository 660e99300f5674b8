"""Checkpoints: one file, whole or not there, that makes a killed run go on bit for bit.

Tensors and a JSON state share one safetensors file, so they cannot be of different steps. Bits
repeat with the same device, versions, threads and batch: a resume with others is refused.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from crossflow.errors import InputError
from crossflow.files import write_atomic

FORMAT = 2


def machine(device: torch.device) -> dict[str, Any]:
    """What bits depend on beside the run's own settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    versions = {"torch": torch.__version__, "numpy": np.__version__, "checkpoints": FORMAT}
    return versions | {"threads": torch.get_num_threads(), "device": name}


def write(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Writes tensors by group and name, and `state` (JSON, finite numbers), in one move."""
    tensors = {f"{g}/{name}": t for g, group in groups.items() for name, t in group.items()}
    _write(path, tensors, {"state": json.dumps(state, sort_keys=True, allow_nan=False)})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    # One key of metadata: the library writes several in random order, and equal weights should be
    # equal files. Copies: it refuses tensors that share memory (tied weights).
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_atomic(path, save(copies, metadata))


def read(path: Path, device: torch.device) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `write` was given. InputError when the file is not a whole checkpoint."""
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            state = json.loads((file.metadata() or {})["state"])
            for key in file.keys():  # noqa: SIM118
                group, _, name = key.rpartition("/")
                groups[group][name] = file.get_tensor(key)
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"{path} is no checkpoint that can be read ({error!r}): delete it to start again"
        ) from error
    return groups, state


def export_weights(path: Path, module: nn.Module, about: Mapping[str, Any]) -> None:
    """Weights alone as safetensors, in one move; `about` is stored as JSON in its metadata."""
    _write(path, module.state_dict(), {"about": json.dumps(about, sort_keys=True)})


def load_weights(path: Path, module: nn.Module) -> None:
    """Puts exported weights into a module of the same architecture, strictly."""
    module.load_state_dict(load_file(path), strict=True)


@contextmanager
def repeatable(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Makes what runs inside depend on (seed, step) alone; global settings are put back after.

    The global generator, which dropout uses, is seeded anew for each step (as EDM2 does). An
    operator that has no deterministic form raises.
    """
    devices = [device] if device.type == "cuda" else []
    was = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # a debugging aid, slow
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed * 1_000_003 + step)
            yield
    finally:
        torch.use_deterministic_algorithms(was)
        memory.fill_uninitialized_memory = filled


def trim(journal: Path, steps: int) -> None:
    """Drops the lines after step `steps`: a resumed run does these steps again."""
    kept = []
    # A line cut off by a kill and the garbage of a power cut lie after the checkpoint, before which
    # the lines were synced, and so does all that follows.
    with suppress(ValueError, KeyError, TypeError):
        for line in journal.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n") or int(json.loads(line)["steps"]) > steps:
                break
            kept.append(line)
    write_atomic(journal, b"".join(kept), durable=False)
