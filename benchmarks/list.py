"""What there is: `python -m benchmarks.list`. With --check, also what this machine lacks.

Starts without torch: names come from file listings, the device from the driver's own tool.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten

from benchmarks.config import registry
from benchmarks.config.output import say
from benchmarks.config.schema import Config
from benchmarks.metrics.captions import find_java
from crossflow.files import sha256

WEIGHTS = registry.PACKAGES / "benchmarks" / "tabletop" / "weights"
ENOUGH_DISK = 5e9  # bytes: stores, checkpoints and predictions of the embedded tasks


def listing() -> str:
    """Tasks, methods with their options, models, metrics, experiments, a line each."""
    blocks = []
    for title, entries in {
        "tasks": {name: registry.summary(path) for name, path in registry.tasks().items()},
        "methods": dict(_methods()),
        "models": registry.models(),
        "metrics": {name: registry.summary(path) for name, path in registry.metrics().items()},
        "experiments": registry.presets("experiment"),
    }.items():
        wide = max(map(len, entries))
        lines = [f"  {name:<{wide}}  {summary}".rstrip() for name, summary in entries.items()]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def _methods() -> Iterator[tuple[str, str]]:
    """Each method, and below it `arm.NAME.OPTION=DEFAULT` of its options; then those of all."""
    files = {name: (path, "Options") for name, path in registry.methods().items()}
    files["NAME"] = registry.PACKAGES / "crossflow" / "arm.py", "CommonOptions"
    for arm, (path, options) in files.items():
        yield arm, registry.summary(path) if arm != "NAME" else "any arm; null: the method's own"
        for option, (default, text) in registry.described(path, options).items():
            value = {"None": "null", "True": "true", "False": "false"}.get(default, default)
            value = value.strip('"')
            yield f"  arm.{arm}.{option}={value}", shorten(text, 60, placeholder=" ...")


def checks() -> Iterator[tuple[str, bool, str]]:
    """(what, whether the embedded tasks can run without trouble, in words)."""
    java, where = find_java()
    yield "java", java is not None, f"{java} ({where})" if java else f"{where}; no METEOR"
    cards = sorted(WEIGHTS.glob("*.json"))
    yield "weights", bool(cards), f"cards in {WEIGHTS}"
    for card in cards:
        try:
            digest = sha256(card.with_suffix(".safetensors"))
            whole = digest == json.loads(card.read_text("utf-8"))["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        yield f"weights {card.stem}", whole, "whole" if whole else "install the package again"
    for field in ("out", "work"):
        folder = Path(getattr(Config, field)).absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free, writable = shutil.disk_usage(there).free, there.is_dir() and os.access(there, os.W_OK)
        state = f"{free / 1e9:.0f} GB free at {folder}{'' if writable else ', not writable'}"
        yield f"disk for {field}", writable and free >= ENOUGH_DISK, state
    program, gpus = shutil.which("nvidia-smi"), "no NVIDIA driver"
    if program is not None:
        query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
        gpus = f"GPU {'; '.join(answer.stdout.strip().splitlines())}"
    yield "device", True, f"{os.cpu_count()} CPU cores, {gpus}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the listing, or with --check the state of this machine; status 1 if it lacks any."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--check"]:
        states = list(checks())
        say(f"{'ok' if good else 'MISSING':<8}{what}: {state}" for what, good, state in states)
        return 0 if all(good for _, good, _ in states) else 1
    if arguments not in ([], ["-h"], ["--help"]):
        print(f"list: error: unrecognized arguments: {' '.join(arguments)}", file=sys.stderr)
        return 2
    say([__doc__ if arguments else listing()])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
