"""From what a user types to what hydra's override grammar reads.

Flags and overrides in any order, paths of any character, a budget limit that replaces the
preset's, options of arms, and the closest right name for a wrong field: none of that is hydra's.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

from benchmarks.config.schema import LIMITS, Config, WeightsConfig, leaves
from crossflow.errors import InputError, closest

PATHS = (
    *("task.root", "task.train_root", "task.split_file", "task.prompts", "task_file"),
    *("predictions", "out", "work", "method_file", "export"),
    *(f"weights.{item.name}" for item in fields(WeightsConfig)),
)
VERBATIM = (*PATHS, "name")
FLAGS = ("-m", "--multirun", "--resolve")
FLAGS_WITH_VALUE = ("--cfg", "--config-dir")
# Keys that hydra's grammar reads: the parts of an arm's name, then its option.
ARM_KEY = re.compile(r"arm(\.([A-Za-z_][\w-]*|0|[1-9]\d*))+\.[A-Za-z_]\w*", re.ASCII)


def prepare(arguments: list[str]) -> list[str]:
    """Arguments for hydra: flags first, known fields only, paths expanded and quoted.

    A budget limit clears the others. Raises InputError for an unknown flag or field and for an
    argument that is no FIELD=VALUE.
    """
    flags, prepared, typed = [], [], []  # typed: keys with a value
    takes_value = False
    for argument in arguments:
        if takes_value or argument.startswith("-"):
            takes_value = not takes_value and _is_waiting_flag(argument)
            flags.append(argument)
            continue
        prefix, key, value = split(argument)
        typed += [key] if value != "null" else []
        prepared.append(f"{prefix}{key}={_written(key, value)}")
    limits = [f"budget.{name}" for name in LIMITS]
    if set(typed) & set(limits):
        prepared += [f"{limit}=null" for limit in limits if limit not in typed]
    task_file = last(arguments, "task_file")
    if task_file is not None:
        if "task" in typed:
            raise InputError(f"task_file={task_file}: it is the task; leave task=NAME out")
        prepared.append(f"task={Path(task_file).stem}")
    return flags + prepared


def split(argument: str) -> tuple[str, str, str]:
    """`+key=value` -> ("+", "key", "value"), with a key that exists."""
    match = re.match(r"(\+\+|\+|)([^=+~]+)=(.*)\Z", argument, re.DOTALL)
    if match is None:
        raise InputError(f"{argument!r}: write FIELD=VALUE; --help lists the fields")
    prefix, key, value = match.groups()
    if key == "experiment":
        if prefix != "+":
            raise InputError(f"a preset is chosen with a plus sign: +experiment={value}")
        return prefix, key, value
    if key == "arm" or key.startswith("arm."):
        if not ARM_KEY.fullmatch(key):
            raise InputError(
                f"{key}: write arm.NAME.OPTION=VALUE, each part of NAME between dots beginning "
                "with a letter"
            )
        return "++", key, value
    known = [name for name, *_ in leaves()]
    if key not in known and not key.startswith(("hydra.", "hydra/")):
        raise InputError(f"unknown field {key!r}. {closest(key, known)}--help lists all fields")
    return ("" if prefix == "+" else prefix), key, value


def last(arguments: list[str], field: str) -> str | None:
    """The path that the arguments give a field; needed before hydra has composed them."""
    given = [argument.lstrip("+").partition("=") for argument in arguments]
    values = [value for key, _, value in given if key == field and value != "null"]
    return os.path.expanduser(values[-1]) if values else None  # noqa: PTH111


def work_folder(arguments: list[str]) -> Path:
    """Where hydra's own folders lie, also where it fails before it says so."""
    return Path(last(arguments, "work") or Config().work)


def _is_waiting_flag(argument: str) -> bool:
    """Whether the flag's value is the next argument; InputError for an unknown flag."""
    name, equals, _ = argument.partition("=")
    if argument not in FLAGS and name not in FLAGS_WITH_VALUE:
        known = ", ".join((*FLAGS, *FLAGS_WITH_VALUE, "--help"))
        raise InputError(f"unknown flag {argument!r}; there are {known}; fields are FIELD=VALUE")
    return name in FLAGS_WITH_VALUE and not equals


def _written(key: str, value: str) -> str:
    """The value as hydra must read it: literal for paths and names, else as typed."""
    if key not in VERBATIM or value == "null":
        return value
    if not value:
        raise InputError(f"{key} is empty")
    if key == "work" and "${" in value:
        raise InputError(f"work={value}: hydra, whose folders lie there, cannot hold ${{")
    if key in PATHS:
        value = os.path.expanduser(value)  # noqa: PTH111  (Path would also drop "./" and "//")
    # OmegaConf would begin an interpolation at "${"; in hydra's single-quoted strings backslashes
    # count only before a quote.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)
    quoted = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + "\\'" * bool(match[2]), escaped)
    return f"'{quoted}'"
