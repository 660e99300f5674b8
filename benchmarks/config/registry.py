"""The folder listing is the registry: a task's or method's file name is its name.

Names, first lines, defaults and options are read from the source text: listing needs no torch. A
user's own file is imported and asked: what it imports from another file counts as its own.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.config.schema import COMMON, Config, TaskConfig, WeightsConfig, leaves
from crossflow.errors import InputError, right_names

PACKAGES = Path(__file__).resolve().parents[2]
BOUNDS = ("floor", "oracle")  # rows that bound every table, never an arm
PARTS = {"method_file": ("NAME", "applies", "method"), "task_file": ("TASK",)}  # of own files


def _listing(name: str, *folders: str) -> dict[str, Path]:
    """Files, by their names, that define `name` at their top: a function, a class or a value."""
    definition = re.compile(rf"^(?:(?:def|class) {name}\b|{name}(?:: \S+)? = )", re.M)
    paths = [path for folder in folders for path in PACKAGES.glob(f"{folder}/*.py")]
    found = {path.stem: path for path in paths if definition.search(path.read_text("utf-8"))}
    return dict(sorted(found.items()))


tasks = partial(_listing, "TASK", "benchmarks/tasks")
methods = partial(_listing, "method", "crossflow", "baselines")
metrics = partial(_listing, "PROTOCOL", "benchmarks/metrics")  # families of them


def models() -> dict[str, str]:
    """Backbone sizes of crossflow/network.py: name -> layers, width, heads."""
    source = (PACKAGES / "crossflow/network.py").read_text("utf-8")
    sizes = re.findall(r'"(\w+)": \w*Size\((\d+), (\d+), (\d+),', source)
    return {size: "{} layers, width {}, {} heads".format(*numbers) for size, *numbers in sizes}


def presets(kind: str) -> dict[str, str]:
    """Shipped presets of a kind (experiment, launcher), each with its comment's first sentence."""
    found = {}
    for path in sorted(Path(__file__).parent.glob(f"{kind}/*.yaml")):
        comments = re.findall(r"^# (?!@package)(.*)", path.read_text("utf-8"), re.M)
        found[path.stem] = re.split(r"(?<=\.)\s", " ".join(comments))[0]
    return found


def summary(path: Path) -> str:
    """The first line of a file's docstring."""
    return path.read_text("utf-8").splitlines()[0].strip('"')


def described(path: Path, dataclass_name: str) -> dict[str, tuple[str, str]]:
    """Field -> (default, comment beside or above) of a dataclass, if the file has it."""
    block = rf"^class {dataclass_name}\b.*?(?=^\S|\Z)"
    body = re.search(block, path.read_text("utf-8"), re.M | re.S)
    field = r"((?:^    #.*\n)*)^    (\w+): [^=\n]+ = (.+?)(?:  # (.*))?$"
    return {
        name: (default, " ".join([*re.findall("# (.*)", above), beside]).strip())
        for above, name, default, beside in re.findall(field, body[0] if body else "", re.M)
    }


def task_defaults(path: Path) -> dict[str, Any]:
    """The literal `DEFAULTS` of a task file: its own values for fields of `TaskConfig`."""
    defaults = re.search(r"^DEFAULTS = (\{.*?\})$", path.read_text("utf-8"), re.M | re.S)
    return ast.literal_eval(defaults[1]) if defaults else {}


def load_task(name: str, own: str | None = None) -> Any:
    """The object `TASK` of a task file. InputError with the right names for a wrong one."""
    return _load("task", name, own, tasks()).TASK


def task_of(config: Config) -> Any:
    """The task a configuration names; InputError for a field that this task would ignore."""
    task = load_task(config.task.name, config.task_file)
    for field, section, item in leaves():
        value, used = attrgetter(field)(config), {item.name, field} & {*COMMON, *task.uses}
        if section in (TaskConfig, WeightsConfig) and value != item.default and not used:
            raise InputError(f"{field}={value}: {config.task.name} does not use it, leave it out")
    return task


def method_name(config: Config, arm: str) -> str:
    """The method of an arm: the one it is called by, unless `arm.NAME.method` says another."""
    return str(config.arm.get(arm, {}).get("method", arm))


def method_of(config: Config, arm: str) -> ModuleType:
    """The module of an arm's method. InputError with the right names for a wrong one."""
    return _load("method", method_name(config, arm), config.method_file, methods())


def arm_options(config: Config, arm: str) -> dict[str, Any]:
    """What the user gave of an arm's options; the others have the method's defaults."""
    given = config.arm.get(arm, {})
    return {option: value for option, value in given.items() if option != "method"}


def check_name(field: str, name: str) -> None:
    """InputError for a name that could not name files, or is a bound's."""
    if name in BOUNDS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        what = "a name has letters, digits, . _ -, at most 80, is not floor or oracle"
        raise InputError(f"{field}={name}: {what}")


def check_arms(config: Config) -> None:
    """A user's own method joins `config.methods` where no arm has it. InputError for wrong names,
    and for options of an arm that is not trained."""
    own = config.method_file and Path(config.method_file).stem
    if own and own not in [method_name(config, arm) for arm in config.methods]:
        config.methods.append(own)
    for arm in config.methods:
        method_of(config, arm)  # its name is right, or its file
        check_name("methods", arm)
        name = method_name(config, arm)
        if arm != name and arm in (*methods(), own):
            raise InputError(f"arm.{arm}.method={name}: {arm} is a method itself; rename the arm")
    for arm in config.arm.keys() - set(config.methods):
        raise InputError(f"arm.{arm}: not in methods. {right_names(arm, config.methods)}")


def _load(kind: str, name: str, own: str | None, known: dict[str, Path]) -> ModuleType:
    """The file of a task or method: the user's own, or one that is shipped."""
    if own is not None and Path(own).stem == name:
        return load_file(f"{kind}_file", own)
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}. {right_names(name, known)}")
    parts = known[name].relative_to(PACKAGES).with_suffix("").parts
    return importlib.import_module(".".join(parts))


@cache
def load_file(field: str, given: str) -> ModuleType:
    """A user's file, imported once; InputError for whatever is wrong with it."""
    name = Path(given).stem
    if not given.endswith(".py") or not Path(given).is_file():
        raise InputError(f"{field}={given}: no such Python file")
    check_name(field, name)
    if name in (methods() if field == "method_file" else tasks()):
        raise InputError(f"{field}={given}: {name} is shipped; rename it")
    loader = SourceFileLoader(f"{field}_{name}", given)
    module = ModuleType(loader.name)
    module.__file__ = given
    sys.modules[loader.name] = module  # dataclasses look it up while it is being executed
    try:
        loader.exec_module(module)
        attrgetter(*PARTS[field])(module)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        reason, parts = f"{type(error).__name__}: {error}", ", ".join(PARTS[field])
        raise InputError(f"{field}={given}: {reason}; it defines or imports {parts}") from error
    return module
