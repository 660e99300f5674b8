"""What a record says of the machine and the code that made it; all of it is volatile."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "torch-fidelity", "pycocoevalcap", "scikit-image", "scipy")


def commit() -> str | None:
    """The commit of the checkout this package lies in, `-dirty` with changes; None outside one."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def versions() -> dict[str, str]:
    """Versions of python and of the libraries that decide numbers."""
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in LIBRARIES}


def description() -> dict[str, Any]:
    """Name, platform and number of cores."""
    return {"name": socket.gethostname(), "platform": platform.platform(), "cores": os.cpu_count()}


def threads() -> int:
    """Threads of a torch operation: bits repeat only under the same number."""
    import torch

    return torch.get_num_threads()


def device_name(device: str) -> str:
    """The GPU's name, or the processor's model: what a second buys."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()
