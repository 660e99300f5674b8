"""From what a user types to what hydra's override grammar reads.

Flags in any order, paths of any character, a budget limit that replaces the preset's, options of
arms, and the closest right name for a wrong field: none of that is hydra's.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields
from itertools import islice
from pathlib import Path

from benchmarks.config.schema import UNREAD, WeightsConfig, leaves, reads
from crossflow.errors import InputError, closest

# Read literally, whatever characters they hold.
PATHS = (
    *"task.root task.train_root task.split_file task.prompts task_file method_file".split(),
    *"predictions name out work export".split(),
    *(f"weights.{item.name}" for item in fields(WeightsConfig)),
)
# Keys that hydra's grammar reads: the parts of an arm's name, then its option.
ARM_KEY = re.compile(r"arm(\.([A-Za-z_][\w-]*|0|[1-9]\d*))+\.[A-Za-z_]\w*", re.ASCII)


def prepare(arguments: list[str], command: str = "run") -> tuple[list[str], dict[str, str]]:
    """Arguments for hydra, flags first, and the value of each field that was given one.

    A budget limit clears the others. Raises InputError for an unknown flag or field, for one that
    `command` would ignore, and for an argument that is no FIELD=VALUE.
    """
    flags: list[str] = []
    overrides: list[str] = []
    given: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word in ("--cfg", "--config-dir"):
            flags += [word, *islice(words, 1)]
        elif re.fullmatch(r"-m|--multirun|--resolve|--(cfg|config-dir)=.*", word):
            flags.append(word)
        else:
            prefix, key, value = split(word)
            overrides.append(f"{prefix}{key}={quoted(value) if key in PATHS else value}")
            given |= {key: value} if value != "null" else {}
    use = "prepare export=DIR" if command == "prepare" and "export" in given else command
    for field in given:
        if field != "out" and not reads(use, field):  # one set of places serves all of a script
            others = " and ".join(f"benchmarks.{other}" for other in UNREAD if reads(other, field))
            raise InputError(f"{field}: `{use}` does not use it; leave it out, it is for {others}")
    limits = [name for name, *_ in leaves() if name.startswith("budget.")]
    if given.keys() & limits:
        overrides += [f"{limit}=null" for limit in limits if limit not in given]
    if task_file := given.get("task_file"):
        if "task" in given:
            raise InputError(f"task_file={task_file}: it is the task; leave task=NAME out")
        overrides.append(f"task={Path(task_file).stem}")
    return flags + overrides, given


def split(argument: str) -> tuple[str, str, str]:
    """`key=value` -> (prefix that hydra wants, key, value), with a key that exists."""
    match = re.match(r"(\+\+|\+|)([^=+~-][^=+~]*)=(.*)\Z", argument, re.DOTALL)
    if match is None:
        raise InputError(f"{argument!r}: write FIELD=VALUE; --help lists fields and flags")
    prefix, key, value = match.groups()
    if key in PATHS:
        value = os.path.expanduser(value)  # noqa: PTH111  (Path would also drop "./" and "//")
        if not value:
            raise InputError(f"{key} is empty")
    known = [name for name, *_ in leaves()]
    if key == "arm" or key.startswith("arm."):
        if not ARM_KEY.fullmatch(key):
            raise InputError(f"{key}: write arm.NAME.OPTION=VALUE, NAME beginning with a letter")
        return "++", key, value
    if key in (*known, "experiment"):
        return "+" if key == "experiment" else "", key, value
    if not key.startswith(("hydra.", "hydra/")):
        raise InputError(f"unknown field {key!r}. {closest(key, known)}--help lists all fields")
    return prefix, key, value


def quoted(text: str) -> str:
    """As hydra reads it literally; null stays null."""
    # OmegaConf would begin an interpolation at "${"; in single quotes backslashes count only before
    # a quote.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    inside = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + "\\'" * bool(match[2]), escaped)
    return text if text == "null" else f"'{inside}'"
