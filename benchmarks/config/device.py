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

    if name == "auto" and not torch.cuda.is_available():
        return "cpu"
    if name in ("auto", "cuda") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        own, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if own >= count > 0:
            raise InputError(
                f"device={name}: process {own} of this machine has no GPU of its own, there are "
                f"{count}; start fewer, or name one for all with device=cuda:0"
            )
        name = f"cuda:{own}"
    elif name == "auto":
        return "cuda"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device={name}: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(f"device={name}: no such GPU here; use device=cpu or device=auto")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name}: use auto, cpu, cuda or cuda:N")
    return name
