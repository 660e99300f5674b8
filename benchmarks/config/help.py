"""What `--help` says: made from the schema's source, so that it cannot go stale."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from benchmarks.config import registry
from benchmarks.config.schema import CHOICES, DEFAULT_FLOPS, RULES, leaves, reads


def experiments() -> dict[str, str]:
    """Shipped presets by name, each with the first sentence of its comment."""
    presets = {}
    for path in sorted((Path(__file__).parent / "experiment").glob("*.yaml")):
        comments = re.findall(r"^# (?!@package)(.*)", path.read_text("utf-8"), re.MULTILINE)
        presets[path.stem] = re.split(r"(?<=\.)\s", " ".join(comments))[0]
    return presets


def help_text(command: str, document: str) -> str:
    """Usage, `document`, the fields that the command reads, what there is, exit statuses."""
    lines = [
        f"python -m benchmarks.{command} [FIELD=VALUE ...] [+experiment=PRESET] [-m]",
        "",
        document.strip(),
        "",
        "Fields and their defaults (null: none, or the task's own):",
        *_field_lines(command),
        "",
        f"A budget has exactly one limit, flops={DEFAULT_FLOPS:g} if none is given; one given here",
        "replaces the preset's.",
        "",
        *_row("Tasks:", ", ".join(registry.tasks()), 13),
        *_row("Methods:", ", ".join(registry.methods()), 13),
        *_row("Experiments:", ", ".join(experiments()), 13),
        "",
        "-m, --multirun runs every combination of comma-separated values; --cfg job shows the",
        "configuration and stops; --config-dir DIR adds a folder of presets of your own.",
        "Exit status: 0 done, 1 a failure during the work, 2 a mistake found before it.",
    ]
    return "\n".join(lines)


def _field_lines(command: str) -> Iterator[str]:
    """Each field: name and default, its comment, what it may be."""
    bounds = {name: words for words, _, names in RULES for name in names}
    for name, section, item in leaves():
        if not reads(command, name):
            continue
        source = Path(inspect.getfile(section))
        _, text = registry.described(source, section.__name__)[item.name]
        if name in CHOICES:
            text += f" ({', '.join(CHOICES[name])})"
        elif name in bounds:
            text += f" ({bounds[name]})"
        default = json.dumps(getattr(section(), item.name)).strip('"')
        head = "arm.NAME.OPTION=VALUE" if name == "arm" else f"{name}={default}"
        yield from _row(f"  {head}", text)


def _row(head: str, text: str, indent: int = 34) -> list[str]:
    """A name and its text in two columns of a page of 100; a long name stands alone."""
    lines = textwrap.wrap(text, 100 - indent)
    if len(head) < indent:
        head += " " * (indent - len(head)) + lines.pop(0)
    return [head, *(" " * indent + line for line in lines)]
