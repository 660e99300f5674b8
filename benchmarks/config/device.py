"""Which device a command runs on."""

from __future__ import annotations

import os

from crossflow.errors import InputError


def resolve(name: str) -> str:
    """`auto` becomes cuda where there is one, else cpu. InputError for a device that is not there.

    Where several processes run on one machine (torchrun), auto and cuda mean the GPU of this one:
    LOCAL_RANK. The answer stands in every record; nothing falls back in silence to a slower device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if name == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name}: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(
            f"device={name}: no such GPU, this machine has {count}; use device=auto, or start "
            "fewer processes"
        )
    return name
