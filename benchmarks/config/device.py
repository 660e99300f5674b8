"""Which device a command runs on."""

import os
import re
from collections.abc import Iterable

from crossflow.errors import InputError


def resolve(name: str, others: Iterable[str] = ()) -> str:
    """auto: cuda where there is one, else cpu; under torchrun this process's GPU. InputError for a
    device that is not there; it also names `others`."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if name == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise InputError(f"device={name}: use {', '.join(['auto, cpu, cuda or cuda:N', *others])}")
    if name != "cpu" and int(name[5:] or 0) >= count:
        raise InputError(f"device={name}: no such GPU, this machine has {count}")
    return name
