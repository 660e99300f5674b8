"""Checkpoints: one file, whole or not there, that makes a killed run go on bit for bit.

Tensors and a JSON state share one safetensors file, so they cannot be of different steps. Bits
repeat with the same device, versions, threads and batch: a resume with others is refused.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from crossflow.errors import InputError
from crossflow.files import Damaged, whole, write_atomic


def machine(device: torch.device) -> dict[str, Any]:
    """What bits depend on beside the run's own settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    return versions | {"threads": torch.get_num_threads(), "device": name}


Groups = Mapping[str, Mapping[str, Tensor]]  # by group, "" where there is none, and name


def write(path: Path, groups: Groups, about: Mapping[str, Any]) -> None:
    """Writes tensors, and `about` (JSON, finite numbers), in one move; equal content, equal files.

    For that there is one key of metadata: the library writes several in random order. It refuses
    tensors that share memory (tied weights), so they are copied.
    """
    tensors = {f"{g}/{name}".lstrip("/"): t for g in groups for name, t in groups[g].items()}
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    sealed = {**about, "crc32": _crc(copies, about)}
    metadata = {"about": json.dumps(sealed, sort_keys=True, allow_nan=False)}
    write_atomic(path, save(copies, metadata))


def _crc(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> int:
    """A checksum of all that a file holds: the format has none, and a wrong bit would train on."""
    crc = zlib.crc32(json.dumps(about, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data, crc)
    return crc


def read(path: Path, device: torch.device) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `write` was given. InputError when the file is not a whole one."""
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if about.pop("crc32") != _crc(tensors, about):
            raise ValueError("another checksum")
        for key, tensor in tensors.items():
            group, _, name = key.rpartition("/")
            groups[group][name] = tensor.to(device)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); delete it to start again") from error
    return groups, about


@contextmanager
def repeatable(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Makes what runs inside depend on (seed, step) alone; global settings are put back after.

    The global generator, which dropout uses, is seeded anew for each step (as EDM2 does). An
    operator that has no deterministic form raises.
    """
    devices = [device] if device.type == "cuda" else []
    memory: Any = torch.utils.deterministic
    was, filled = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # a debugging aid, slow
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed * 1_000_003 + step)
            yield
    finally:
        torch.use_deterministic_algorithms(was)
        memory.fill_uninitialized_memory = filled


def trim(journal: Path, last: int) -> None:
    """Drops the lines after step `last`, of the checkpoint's last line: a resumed run does these
    steps again. A journal that lacks lines before goes on with those it has, and is put aside."""
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if 0 < _step(line) <= last]
    # A line cut off by a kill and the garbage of a power cut lie after the checkpoint, before which
    # the lines were synced.

    def check() -> None:
        if kept != lines[: len(kept)] or last != (_step(kept[-1]) if kept else 0):
            raise Damaged(journal, "lines before the checkpoint are lost")

    whole(journal, check)
    write_atomic(journal, b"".join(kept), durable=False)


def _step(line: bytes) -> int:
    """The step of a line; 0 where it is not whole."""
    try:
        return int(json.loads(line)["steps"]) if line.endswith(b"\n") else 0
    except (ValueError, KeyError, TypeError):
        return 0
