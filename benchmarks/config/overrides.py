"""From what a user types to what hydra's override grammar reads.

Paths may hold any character, a budget limit replaces the preset's, and a wrong field is named with
the closest right one: none of that is hydra's. It happens here, on the text of the arguments.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import fields
from pathlib import Path

from benchmarks.config.schema import LIMITS, Config, WeightsConfig, known_fields
from crossflow.errors import InputError

WEIGHTS = tuple(f"weights.{item.name}" for item in fields(WeightsConfig))
PATHS = (
    *("task.root", "task.train_root", "task.split_file", "task.prompts", "predictions"),
    *("out", "work", "method_file", "export"),
    *WEIGHTS,
)
VERBATIM = (*PATHS, "name")
FLAGS = ("-m", "--multirun", "--resolve")
FLAGS_WITH_VALUE = ("--cfg", "--config-dir")


def prepare(arguments: list[str]) -> list[str]:
    """Arguments for hydra: known fields only, paths expanded and quoted, one budget limit.

    Raises InputError for an unknown flag or field, for an argument that is no FIELD=VALUE and for
    two budget limits.
    """
    prepared = []
    limits: list[str] = []
    takes_value = False
    for argument in arguments:
        if takes_value or argument.startswith("-"):
            takes_value = not takes_value and _is_waiting_flag(argument)
            prepared.append(argument)
            continue
        prefix, key, value = split(argument)
        if key.startswith("budget.") and value != "null":
            limits.append(key.removeprefix("budget."))
        prepared.append(f"{prefix}{key}={_written(key, value)}")
    limits = sorted(set(limits))
    if len(limits) > 1:
        named = " and ".join(f"budget.{limit}" for limit in limits)
        raise InputError(f"two budget limits: {named}; give one")
    if limits:
        prepared += [f"budget.{other}=null" for other in LIMITS if other != limits[0]]
    return prepared


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
    if key not in known_fields() and not key.startswith(("hydra.", "hydra/")):
        # A person who mistypes a section's field has usually typed the rest right.
        close = difflib.get_close_matches(key, known_fields(), n=2, cutoff=0.75)
        close += [name for name in known_fields() if name.endswith(f".{key}")]
        hint = f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
        raise InputError(f"unknown field {key!r}.{hint} --help lists all fields")
    return ("" if prefix == "+" else prefix), key, value


def work_folder(arguments: list[str]) -> Path:
    """The `work` that the arguments ask for: needed where hydra fails before it says so."""
    for argument in reversed(arguments):
        if argument.lstrip("+").startswith("work="):
            return Path(argument.partition("=")[2]).expanduser()
    return Path(Config().work)


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
    if key in PATHS:
        if key == "work" and "${" in value:
            raise InputError(f"work={value}: hydra, whose folders lie there, cannot hold ${{")
        value = os.path.expanduser(value)  # noqa: PTH111  (Path would also drop "./" and "//")
    return _quote(_escape(value))


def _escape(value: str) -> str:
    """Text that OmegaConf reads back as itself: `${` would begin an interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)


def _quote(value: str) -> str:
    """A single-quoted string of hydra's grammar: backslashes count only before a quote."""
    return "'" + re.sub(r"(\\*)('|\Z)", _doubled, value) + "'"


def _doubled(found: re.Match[str]) -> str:
    backslashes, quote = found[1], found[2]
    return backslashes * 2 + ("\\'" if quote else "")
