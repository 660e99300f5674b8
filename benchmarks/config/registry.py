"""The folder listing is the registry: a task's or method's file name is its name.

Names, first docstring lines and defaults are read from the source text; a file is imported only
when its task or method is used, so that listing needs no torch.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.config.schema import Config, check_fields
from crossflow.errors import InputError

PACKAGES = Path(__file__).resolve().parents[2]
FRAMING = ("floor", "oracle")  # rows that frame every table, never an arm
PARTS = ("NAME", "applies", "method")  # what a method file defines: see crossflow.method


@dataclass(frozen=True)
class Entry:
    """A task or method: its name, the first line of its docstring, where it is."""

    name: str
    summary: str
    module: str
    path: Path


def tasks() -> dict[str, Entry]:
    """Files of benchmarks/tasks that define `TASK`, by name."""
    return _listing("benchmarks.tasks", "TASK")


def methods() -> dict[str, Entry]:
    """Files of the library and of baselines that define `method`, by name."""
    found = _listing("baselines", "method") | _listing("crossflow", "method")
    return dict(sorted(found.items()))


def metrics() -> dict[str, Entry]:
    """Families of metrics: files of benchmarks/metrics that carry a `PROTOCOL` number."""
    return _listing("benchmarks.metrics", "PROTOCOL")


def models() -> dict[str, str]:
    """Backbone sizes of crossflow/network.py: name -> "depth x width, heads", as written there."""
    sizes = _assigned(_tree(PACKAGES / "crossflow" / "network.py"), "SIZES")
    assert isinstance(sizes, ast.Dict)
    found = {}
    for key, value in zip(sizes.keys, sizes.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(value, ast.Call)
        depth, width, heads, *_ = (ast.literal_eval(argument) for argument in value.args)
        found[str(key.value)] = f"{depth} layers, width {width}, {heads} heads"
    return found


def task_defaults(entry: Entry) -> dict[str, Any]:
    """The literal `DEFAULTS` of a task file: its own values for fields of `TaskConfig`."""
    value = _assigned(_tree(entry.path), "DEFAULTS")
    return {} if value is None else ast.literal_eval(value)


def load_task(name: str) -> Any:
    """The object `TASK` of a task file. InputError with the right names for a wrong one."""
    entry = pick("task", name, tasks())
    return importlib.import_module(entry.module).TASK


def task_of(config: Config) -> Any:
    """The task a configuration names; InputError for a field that this task would ignore."""
    task = load_task(config.task.name)
    check_fields(config, task.uses)
    return task


def load_method(name: str, method_file: str | None = None) -> ModuleType:
    """The module of a method; `method_file` is a user's own, called like its file."""
    if method_file is not None and Path(method_file).stem == name:
        return _load_file(Path(method_file))
    return importlib.import_module(pick("method", name, methods()).module)


def check_methods(names: list[str], method_file: str | None) -> list[str]:
    """The arms of a match: `names`, and the user's own method if there is one.

    Raises InputError for names that are no method, and for a method file that is none, cannot be
    imported or is called like a shipped method.
    """
    known = methods()
    if method_file is None:
        for name in names:
            if name in FRAMING:
                raise InputError(f"methods: {name} is added to every table; leave it out")
            pick("method", name, known)
        return names
    path = Path(method_file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"method_file={method_file}: no such Python file")
    if path.stem in known or path.stem in FRAMING:
        raise InputError(
            f"method_file={method_file}: {path.stem} is a shipped method; rename the file"
        )
    tree = _tree(path)
    lacking = [f"`{part}`" for part in PARTS if not _defines(tree, part)]
    if lacking:
        raise InputError(
            f"method_file={method_file}: defines no {', '.join(lacking)}; a method file has NAME, "
            "applies(problem) and method(problem, size)"
        )
    try:
        _load_file(path)
    except Exception as error:  # the user's own code may raise anything
        raise InputError(
            f"method_file={method_file}: cannot be imported ({type(error).__name__}: {error})"
        ) from error
    own = path.stem
    for name in names:
        if name != own:
            pick("method", name, known)
    return names if own in names else [*names, own]


def pick(kind: str, name: str, known: dict[str, Entry]) -> Entry:
    """`known[name]`, or InputError that lists the right names, the closest one first."""
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise InputError(f"unknown {kind} {name!r}.{hint} There are: {', '.join(known)}")


def _listing(package: str, constant: str) -> dict[str, Entry]:
    folder = PACKAGES.joinpath(*package.split("."))
    found = {}
    for path in sorted(folder.glob("*.py")):
        tree = _tree(path)
        if path.stem not in ("__init__", *FRAMING) and _defines(tree, constant):
            name = path.stem
            found[name] = Entry(name, _summary(tree), f"{package}.{name}", path)
    return found


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a Python file ({error})") from error


def _summary(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _defines(tree: ast.Module, name: str) -> bool:
    return _assigned(tree, name) is not None or any(
        isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name for node in tree.body
    )


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """The value of a top-level `name = value`."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.value
    return None


def _load_file(path: Path) -> ModuleType:
    """Imports a user's file under a name of its own."""
    name = f"method_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # check_methods saw a .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being executed
    spec.loader.exec_module(module)
    return module
