"""The folder listing is the registry: a task's or method's file name is its name.

Names, first lines, defaults and options are read from the source text as it is formatted here, so
that listing needs no torch; a file is imported only when its task or method is used. A user's own
file is imported and asked: what it imports from another file counts as its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.config.schema import COMMON, Config, TaskConfig, WeightsConfig, leaves
from crossflow.errors import InputError, right_names

PACKAGES = Path(__file__).resolve().parents[2]
BOUNDS = ("floor", "oracle")  # rows that bound every table, never an arm
PARTS = {"method_file": ("NAME", "applies", "method"), "task_file": ("TASK",)}  # of own files


def tasks() -> dict[str, Path]:
    """Files of benchmarks/tasks that define `TASK`, by name."""
    return _listing("TASK", "benchmarks/tasks")


def methods() -> dict[str, Path]:
    """Files of the library and of baselines that define `method`, by name."""
    return _listing("method", "crossflow", "baselines")


def metrics() -> dict[str, Path]:
    """Families of metrics: files of benchmarks/metrics that carry a `PROTOCOL` number."""
    return _listing("PROTOCOL", "benchmarks/metrics")


def models() -> dict[str, str]:
    """Backbone sizes of crossflow/network.py: name -> layers, width, heads."""
    source = (PACKAGES / "crossflow/network.py").read_text("utf-8")
    sizes = re.findall(r'"(\w+)": Size\((\d+), (\d+), (\d+),', source)
    return {size: "{} layers, width {}, {} heads".format(*numbers) for size, *numbers in sizes}


def experiments() -> dict[str, str]:
    """Shipped presets by name, each with the first sentence of its comment."""
    presets = {}
    for path in sorted(Path(__file__).parent.glob("experiment/*.yaml")):
        comments = re.findall(r"^# (?!@package)(.*)", path.read_text("utf-8"), re.M)
        presets[path.stem] = re.split(r"(?<=\.)\s", " ".join(comments))[0]
    return presets


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


def load_task(name: str) -> Any:
    """The object `TASK` of a task file. InputError with the right names for a wrong one."""
    return _imported("task", name, tasks()).TASK


def task_of(config: Config) -> Any:
    """The task a configuration names; InputError for a field that this task would ignore."""
    name, own = config.task.name, config.task_file
    task = load_task(name) if own is None else load_file("task_file", own).TASK
    for field, section, item in leaves():
        value, optional = attrgetter(field)(config), section in (TaskConfig, WeightsConfig)
        if optional and value != item.default and not {item.name, field} & {*COMMON, *task.uses}:
            raise InputError(f"{field}={value}: {name} does not use it, leave it out")
    return task


def method_name(config: Config, arm: str) -> str:
    """The method of an arm: the one it is called by, unless `arm.NAME.method` says another."""
    return str(config.arm.get(arm, {}).get("method", arm))


def method_of(config: Config, arm: str) -> ModuleType:
    """The module of an arm's method. InputError with the right names for a wrong one."""
    name, own = method_name(config, arm), config.method_file
    if own is not None and Path(own).stem == name:
        return load_file("method_file", own)
    return _imported("method", name, methods())


def arm_options(config: Config, arm: str) -> dict[str, Any]:
    """What the user gave of an arm's options; the others have the method's defaults."""
    given = config.arm.get(arm, {})
    return {option: value for option, value in given.items() if option != "method"}


def check_name(field: str, name: str) -> None:
    """InputError for a name that could not name files, or is a bound's."""
    if name in BOUNDS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise InputError(
            f"{field}={name}: a name has letters, digits, . _ -, at most 80, is not floor or oracle"
        )


def check_arms(config: Config) -> None:
    """Settles `config.methods`: a user's own method joins the arms where none of them has it.

    Raises InputError for wrong names, and for options of an arm that is not trained.
    """
    own = config.method_file and Path(config.method_file).stem
    if own and own not in [method_name(config, arm) for arm in config.methods]:
        config.methods = [*config.methods, own]
    for arm in config.methods:
        method_of(config, arm)  # its name is right, or its file
        check_name("methods", arm)
        name = method_name(config, arm)
        if arm != name and arm in (*methods(), own):
            raise InputError(f"arm.{arm}.method={name}: {arm} is a method itself; rename the arm")
    for arm in config.arm:
        if arm not in config.methods:
            raise InputError(f"arm.{arm}: not in methods. {right_names(arm, config.methods)}")


@cache
def load_file(field: str, given: str) -> ModuleType:
    """A user's file, imported once; InputError for whatever is wrong with it."""
    path = Path(given)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{field}={given}: no such Python file")
    check_name(field, path.stem)
    if path.stem in (methods() if field == "method_file" else tasks()):
        raise InputError(f"{field}={given}: {path.stem} is shipped; rename it")
    name = f"{field}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being executed
    try:
        spec.loader.exec_module(module)
        attrgetter(*PARTS[field])(module)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        reason, parts = f"{type(error).__name__}: {error}", ", ".join(PARTS[field])
        raise InputError(f"{field}={given}: {reason}; it defines or imports {parts}") from error
    return module


def _imported(kind: str, name: str, known: dict[str, Path]) -> ModuleType:
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}. {right_names(name, known)}")
    path = known[name].relative_to(PACKAGES).with_suffix("")
    return importlib.import_module(".".join(path.parts))


def _listing(name: str, *folders: str) -> dict[str, Path]:
    """Files that define `name` at their top: a function, a class or a value."""
    definition = re.compile(rf"^(?:(?:def|class) {name}\b|{name}(?:: \S+)? = )", re.M)
    paths = [path for folder in folders for path in PACKAGES.glob(f"{folder}/*.py")]
    paths = [path for path in paths if definition.search(path.read_text("utf-8"))]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}
