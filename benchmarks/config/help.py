"""What `--help` says: made from the schema, so that it cannot go stale."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.config.schema import DEFAULT_FLOPS, Config

PURPOSE = {
    "run": "Train the arms of a comparison under one budget, score them, record them.",
    "prepare": "Encode a data set once, so that runs start at once; or export its scored split.",
    "evaluate": "Score anybody's predictions (predictions=DIR name=NAME); trains nothing.",
}
EXAMPLES = {
    "run": (
        "python -m benchmarks.run task=depth_tabletop",
        "python -m benchmarks.run task=depth_nyu task.root=DIR methods=crossflow seed=1",
        "python -m benchmarks.run -m task=depth_tabletop,sr_tabletop seed=0,1,2",
        "python -m benchmarks.run +experiment=tabletop_quick",
    ),
    "prepare": (
        "python -m benchmarks.prepare task=depth_nyu task.root=DIR",
        "python -m benchmarks.prepare task=sr_tabletop export=DIR",
    ),
    "evaluate": (
        "python -m benchmarks.evaluate task=depth_nyu task.root=DIR predictions=DIR name=mymodel",
    ),
}


def experiments() -> dict[str, str]:
    """Shipped presets by name, each with the first sentence of its comment."""
    found = {}
    for path in sorted((Path(__file__).parent / "experiment").glob("*.yaml")):
        comments = re.findall(r"^# (?!@package)(.*)", path.read_text("utf-8"), re.MULTILINE)
        found[path.stem] = re.split(r"(?<=\.)\s", " ".join(comments))[0]
    return found


def help_text(command: str) -> str:
    """Usage, examples, all fields with their defaults, tasks, methods, presets, exit status."""
    lines = [
        f"python -m benchmarks.{command} [FIELD=VALUE ...] [+experiment=PRESET] [-m]",
        "",
        PURPOSE[command],
        "",
        *(f"  {example}" for example in EXAMPLES[command]),
        "",
        "Fields and their defaults:",
        *_field_lines(Config()),
        "",
        f"A budget has exactly one limit, flops={DEFAULT_FLOPS:g} if none is given; one given here",
        "replaces the preset's.",
        "",
        f"Tasks:       {', '.join(registry.tasks())}",
        f"Methods:     {', '.join(registry.methods())}",
        f"Experiments: {', '.join(experiments())}",
        "",
        "-m, --multirun runs every combination of comma-separated values; --cfg job shows the",
        "configuration and stops; --config-dir DIR adds a folder of presets of your own.",
        "Exit status: 0 done, 1 a failure during the work, 2 a mistake found before it.",
    ]
    return "\n".join(lines)


def _field_lines(section: Any, prefix: str = "") -> list[str]:
    lines = []
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            lines += _field_lines(value, f"{item.name}.")
        elif prefix + item.name == "task.name":
            lines.append(f"  task={value}")
        else:
            lines.append(f"  {prefix}{item.name}={'null' if value is None else value}")
    return lines
