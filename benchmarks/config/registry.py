"""The folder listing is the registry: a task's or method's file name is its name.

Names, first docstring lines, defaults and options are read from the source text, so that listing
needs no torch; a file is imported only when its task or method is used. A user's own file is
imported and asked: what it imports from another file counts as its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.config.schema import Config, check_fields
from crossflow.errors import InputError, right_names

PACKAGES = Path(__file__).resolve().parents[2]
BOUNDS = ("floor", "oracle")  # rows that bound every table, never an arm
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # of arms, tasks, predictions: of files
# What a user's own file must have; see `crossflow.method` and `benchmarks.tasks.task`.
PARTS = {"method_file": ("NAME", "applies", "method"), "task_file": ("TASK",)}


@dataclass(frozen=True)
class Entry:
    """A task, method or metric: its name, the first line of its docstring, where it is."""

    name: str
    summary: str
    module: str
    path: Path


def tasks() -> dict[str, Entry]:
    """Files of benchmarks/tasks that define `TASK`, by name."""
    return _listing("benchmarks.tasks", "TASK")


def methods() -> dict[str, Entry]:
    """Files of the library and of baselines that define `method`, by name."""
    return dict(sorted((_listing("baselines", "method") | _listing("crossflow", "method")).items()))


def metrics() -> dict[str, Entry]:
    """Families of metrics: files of benchmarks/metrics that carry a `PROTOCOL` number."""
    return _listing("benchmarks.metrics", "PROTOCOL")


def models() -> dict[str, str]:
    """Backbone sizes of crossflow/network.py: name -> "depth x width, heads", as written there."""
    sizes: Any = _names(_tree(PACKAGES / "crossflow" / "network.py"))["SIZES"]
    summaries = {}
    for name, call in zip(sizes.keys, sizes.values, strict=True):
        depth, width, heads, *_ = (ast.literal_eval(argument) for argument in call.args)
        summaries[name.value] = f"{depth} layers, width {width}, {heads} heads"
    return summaries


def described(path: Path, dataclass_name: str) -> dict[str, tuple[str, str]]:
    """Field -> (default, comment) of a dataclass, both as its source shows them.

    The comment stands beside the field, or above it where it is long. Empty where the file has no
    such class.
    """
    lines, node = path.read_text("utf-8-sig").splitlines(), _names(_tree(path)).get(dataclass_name)
    descriptions = {}
    for field in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(field, ast.AnnAssign) and field.value is not None:
            last, first = field.value.end_lineno or 1, field.lineno - 1
            while lines[first - 1].lstrip().startswith("#"):
                first -= 1
            comments = [*lines[first : field.lineno - 1], lines[last - 1].partition("  # ")[2]]
            text = " ".join(comment.strip(" #") for comment in comments).strip()
            descriptions[ast.unparse(field.target)] = (ast.unparse(field.value), text)
    return descriptions


def task_defaults(entry: Entry) -> dict[str, Any]:
    """The literal `DEFAULTS` of a task file: its own values for fields of `TaskConfig`."""
    defaults = _names(_tree(entry.path)).get("DEFAULTS")
    return {} if defaults is None else ast.literal_eval(defaults)


def load_task(name: str) -> Any:
    """The object `TASK` of a task file. InputError with the right names for a wrong one."""
    return importlib.import_module(pick("task", name, tasks()).module).TASK


def task_of(config: Config) -> Any:
    """The task a configuration names; InputError for a field that this task would ignore."""
    if config.task_file is None:
        task = load_task(config.task.name)
    else:
        task = load_file("task_file", config.task_file).TASK
    check_fields(config, task.uses)
    return task


def method_name(config: Config, arm: str) -> str:
    """The method of an arm: the one it is called by, unless `arm.NAME.method` says another."""
    return str(config.arm.get(arm, {}).get("method", arm))


def method_of(config: Config, arm: str) -> ModuleType:
    """The module of an arm's method. InputError with the right names for a wrong one."""
    name = method_name(config, arm)
    if config.method_file is not None and Path(config.method_file).stem == name:
        return load_file("method_file", config.method_file)
    return importlib.import_module(pick("method", name, methods()).module)


def arm_options(config: Config, arm: str) -> dict[str, Any]:
    """What the user gave of an arm's options; the others have the method's defaults."""
    given = config.arm.get(arm, {})
    return {option: value for option, value in given.items() if option != "method"}


def check_name(field: str, name: str) -> None:
    """InputError for a name that could not name files, or is a bound's."""
    if not NAMES.fullmatch(name):
        raise InputError(
            f"{field}={name}: a name has letters, digits, dots, dashes and underscores, at most "
            "80, and begins with a letter or a digit"
        )
    if name in BOUNDS:
        raise InputError(f"{field}={name}: it is added to every table; leave it out")


def check_names(config: Config) -> None:
    """Settles `config.methods`: a user's own method joins the arms where none of them has it.

    Raises InputError for a wrong name, for an arm of no method, for options of an arm that is not
    trained, and for a method file that is none or is called like a shipped one.
    """
    if config.name is not None:
        check_name("name", config.name)
    known: dict[str, Any] = dict(methods())
    if config.method_file is not None:
        own = Path(config.method_file).stem
        if own in known:
            raise InputError(
                f"method_file={config.method_file}: {own} is a shipped method; rename it"
            )
        known[own] = load_file("method_file", config.method_file)
        if own not in (method_name(config, arm) for arm in config.methods):
            config.methods = [*config.methods, own]
    for arm in config.methods:
        check_name("methods", arm)
        name = method_name(config, arm)
        if arm != name and arm in known:
            raise InputError(f"arm.{arm}.method={name}: {arm} is a method itself; rename the arm")
        pick("method", name, known)
    for arm in config.arm:
        if arm not in config.methods:
            raise InputError(f"arm.{arm}: not in methods. {right_names(arm, config.methods)}")


def load_file(field: str, given: str) -> ModuleType:
    """Imports a user's file and asks it for what a method_file or a task_file must have.

    Raises InputError, one line, for whatever is wrong with it.
    """
    path = Path(given)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{field}={given}: no such Python file")
    check_name(field, path.stem)
    name = f"{field}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being executed
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise InputError(
            f"{field}={given}: cannot be imported ({type(error).__name__}: {error})"
        ) from error
    lacking = [part for part in PARTS[field] if not hasattr(module, part)]
    if lacking:
        raise InputError(
            f"{field}={given}: has no {', '.join(lacking)}; it must define or import "
            f"{', '.join(PARTS[field])}"
        )
    return module


def pick(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """`known[name]`, or InputError that lists the right names, the closest one first."""
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}. {right_names(name, known)}")
    return known[name]


def _listing(package: str, constant: str) -> dict[str, Entry]:
    entries = {}
    for path in sorted(PACKAGES.joinpath(*package.split(".")).glob("*.py")):
        name, tree = path.stem, _tree(path)
        if name not in ("__init__", *BOUNDS) and constant in _names(tree):
            entries[name] = Entry(name, _summary(tree), f"{package}.{name}", path)
    return entries


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8-sig"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a Python file ({error})") from error


def _summary(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _names(tree: ast.Module) -> dict[str, Any]:
    """What a file defines at its top: name -> function, class or assigned expression."""
    names: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return names
