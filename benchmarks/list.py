"""What there is: `python -m benchmarks.list`. With --check, also what this machine lacks.

Starts without torch: names come from file listings, the device from the driver's own tool.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten

from benchmarks.config import registry
from benchmarks.config.schema import Config
from benchmarks.metrics.java import find_java
from crossflow.files import sha256

WEIGHTS = registry.PACKAGES / "benchmarks" / "tabletop" / "weights"
ENOUGH_DISK = 5e9  # bytes: stores, checkpoints and predictions of the embedded tasks


def listing() -> str:
    """Tasks, methods with their options, models, metrics, experiments, a line each."""
    blocks = []
    for title, entries in (
        ("tasks", _summaries(registry.tasks())),
        ("methods", dict(_methods())),
        ("models", registry.models()),
        ("metrics", _summaries(registry.metrics())),
        ("experiments", registry.experiments()),
    ):
        wide = max((len(name) for name in entries), default=0)
        lines = [f"  {name:<{wide}}  {summary}".rstrip() for name, summary in entries.items()]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def _summaries(files: dict[str, Path]) -> dict[str, str]:
    return {name: registry.summary(path) for name, path in files.items()}


def _methods() -> Iterator[tuple[str, str]]:
    """Each method, and below it `arm.NAME.OPTION=DEFAULT` of its options; then those of all."""
    for name, path in registry.methods().items():
        yield name, registry.summary(path)
        yield from _options(name, registry.described(path, "Options"))
    yield "every arm", "null: what the method sets for itself, or the settings of training"
    path = registry.PACKAGES / "crossflow" / "arm.py"
    yield from _options("NAME", registry.described(path, "CommonOptions"))


def _options(arm: str, options: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for option, (default, text) in options.items():
        value = {"None": "null", "True": "true", "False": "false"}.get(default, default)
        yield f"  arm.{arm}.{option}={value}", shorten(text, 60, placeholder=" ...")


def checks() -> Iterator[tuple[str, bool, str]]:
    """(what, whether the embedded tasks can run without trouble, in words)."""
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
        weights, what = card.with_suffix(".safetensors"), f"weights {card.stem}"
        try:
            expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
            whole = expected == sha256(weights)
        except OSError:
            yield what, False, f"{weights} is missing; install the package again"
        except (ValueError, KeyError, TypeError):
            yield what, False, f"{card} is no card; install the package again"
        else:
            size = f"{weights.stat().st_size / 1e6:.1f} MB"
            yield what, whole, size if whole else f"{weights} is not the file its card describes"


def _disk(field: str, folder: Path) -> tuple[str, bool, str]:
    """Free space where a default folder lies or will lie, and whether it can be written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK)
    shown = f"{free / 1e9:.0f} GB free at {folder}" + ("" if writable else ", not writable")
    return f"disk for {field}", writable and free >= ENOUGH_DISK, shown


def _device() -> str:
    """GPUs by nvidia-smi; asking torch would mean importing it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return f"{os.cpu_count()} CPU cores, no NVIDIA driver"
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return f"{os.cpu_count()} CPU cores, GPU {'; '.join(answer.stdout.strip().splitlines())}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the listing, or with --check the state of this machine.

    Status: 1 if something is wrong there, 2 for arguments that there are not.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments not in ([], ["--check"], ["-h"], ["--help"]):
        print(f"list: error: unrecognized arguments: {' '.join(arguments)}", file=sys.stderr)
        return 2
    if arguments != ["--check"]:
        print(listing() if not arguments else __doc__)
        return 0
    fine = True
    for what, good, state in checks():
        print(f"{'ok' if good else 'MISSING':<8}{what}: {state}")
        fine &= good
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
