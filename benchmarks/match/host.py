"""What a record says of the machine, the process and the code that made it."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# Libraries that decide numbers.
LIBRARIES = ("torch", "numpy", "torch-fidelity", "pycocoevalcap", "scikit-image", "scipy")


def about_this_process(command: str, paths: dict[str, str]) -> dict[str, Any]:
    """When, by which command and from what code a record was made."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "command": shlex.join(["python", "-m", f"benchmarks.{command}", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in LIBRARIES},
        "paths": paths,
    }


def _commit() -> str | None:
    """The commit of the checkout this package lies in, `-dirty` with changes; None outside one."""
    command = ["git", "-C", str(Path(__file__).resolve().parent)]
    command += ["describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def description() -> dict[str, Any]:
    """Name, platform and number of cores."""
    return {"name": socket.gethostname(), "platform": platform.platform(), "cores": os.cpu_count()}


def machine(device: str) -> dict[str, Any]:
    """What a second buys; bits repeat only under the same number of threads."""
    import torch

    return {"device": _device_name(device), "devices": 1, "threads": torch.get_num_threads()}


def _device_name(device: str) -> str:
    """The GPU's name, or the processor's model."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()
