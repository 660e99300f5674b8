"""What there is: `python -m benchmarks.list`. With --check, also what this machine lacks.

Starts without torch: names come from file listings, the device from the driver's own tool.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.config import registry
from benchmarks.config.help import experiments
from benchmarks.config.schema import Config
from benchmarks.metrics.java import find_java
from benchmarks.report.command import OneLineParser
from crossflow.errors import InputError

WEIGHTS = registry.PACKAGES / "benchmarks" / "tabletop" / "weights"
ENOUGH_DISK = 5e9  # bytes: stores, checkpoints and predictions of the embedded tasks


def listing() -> str:
    """Tasks, methods, models, metrics, experiments, a line each."""
    sections = {
        "tasks": {name: entry.summary for name, entry in registry.tasks().items()},
        "methods": {name: entry.summary for name, entry in registry.methods().items()},
        "models": registry.models(),
        "metrics": {name: entry.summary for name, entry in registry.metrics().items()},
        "experiments": experiments(),
    }
    blocks = []
    for title, entries in sections.items():
        wide = max((len(name) for name in entries), default=0)
        lines = [f"  {name:<{wide}}  {summary}".rstrip() for name, summary in entries.items()]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def checks() -> Iterator[tuple[str, bool, str]]:
    """(what, whether the embedded tasks can run without trouble, what was found)."""
    yield "python", sys.version_info[:2] in {(3, 11), (3, 12), (3, 13)}, platform.python_version()
    try:
        yield "torch", True, importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield "torch", False, "not installed"
    java, where = find_java()
    yield "java", java is not None, f"{java} ({where})" if java else f"{where}; no METEOR"
    yield from _weights()
    for field in ("out", "work"):
        yield _disk(field, Path(getattr(Config, field)))
    yield "device", True, _device()


def _weights() -> Iterator[tuple[str, bool, str]]:
    """Each card and whether its weights are there, whole."""
    cards = sorted(WEIGHTS.glob("*.json"))
    if not cards:
        yield "weights", False, f"no cards in {WEIGHTS}"
    for card in cards:
        weights = card.with_suffix(".safetensors")
        what = f"weights {card.stem}"
        if not weights.is_file():
            yield what, False, f"{weights} is missing; install the package again"
            continue
        content = weights.read_bytes()
        try:
            expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
        except (ValueError, KeyError, TypeError):
            yield what, False, f"{card} is no card; install the package again"
            continue
        if expected != hashlib.sha256(content).hexdigest():
            yield what, False, f"{weights} is not the file its card describes"
        else:
            yield what, True, f"{len(content) / 1e6:.1f} MB"


def _disk(field: str, folder: Path) -> tuple[str, bool, str]:
    """Free space where a default folder lies or will lie, and whether it can be written."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    found = f"{free / 1e9:.0f} GB free at {folder}" + ("" if writable else ", not writable")
    return f"disk for {field}", writable and free >= ENOUGH_DISK, found


def _device() -> str:
    """GPUs by nvidia-smi; asking torch would mean importing it."""
    cores = f"{os.cpu_count()} CPU cores"
    program = shutil.which("nvidia-smi")
    if program is None:
        return f"{cores}, no NVIDIA driver"
    asked = subprocess.run(
        [program, "--query-gpu=name,memory.total", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if asked.returncode:
        return f"{cores}, nvidia-smi fails: {' '.join(asked.stdout.split())}"
    return f"{cores}, GPU {'; '.join(asked.stdout.strip().splitlines())}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the listing, or with --check the state of this machine.

    Status: 1 if something is wrong there, 2 for arguments that there are not.
    """
    parser = OneLineParser(prog="benchmarks.list", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Java, weights, disk, device")
    try:
        options = parser.parse_args(arguments)
    except InputError as error:
        print(f"list: error: {error}", file=sys.stderr)
        return 2
    if not options.check:
        print(listing())
        return 0
    fine = True
    for what, good, found in checks():
        print(f"{'ok' if good else 'MISSING':<8}{what}: {found}")
        fine &= good
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
