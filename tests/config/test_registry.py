"""The folder listing is the registry, and a wrong name lists the right ones."""

import inspect
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.config import registry, schema
from crossflow.errors import InputError


def test_a_file_is_an_entry(packages):
    assert "depth_nyu" in registry.tasks()
    assert "shared_reading" not in registry.tasks(), "what tasks share is no task"
    assert list(registry.methods()) == ["crossflow", "flow_matching", "regression"]
    path = registry.tasks()["depth_nyu"]
    assert registry.summary(path) == "Task depth_nyu."
    assert registry.task_defaults(path) == {"size": 32}
    path.write_text('TASK = 1\nX = {"size": 3}\n')
    assert registry.task_defaults(path) == {}
    (packages / "baselines/new.py").write_text("def method(problem, size): ...\n")
    assert "new" in registry.methods()


def test_a_wrong_name_lists_the_right_ones(packages):
    wrong = r"unknown task 'deph_nyu'. Did you mean depth_nyu\? There"
    with pytest.raises(InputError, match=wrong):
        registry.load_task("deph_nyu")
    with pytest.raises(InputError, match=r"unknown method 'x'\. There are: crossflow, flow"):
        registry.method_of(schema.Config(), "x")


def test_fields_are_described_by_their_comments(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "class Options:\n    a: int = 1  # beside\n    b: int = 2\n    # above, over\n"
        "    # two lines\n    c: str = 'x#'\n    d: float\n\n\ndef other():\n    e: int = 1\n"
    )
    comments = {"a": ("1", "beside"), "b": ("2", ""), "c": ("'x#'", "above, over two lines")}
    assert registry.described(path, "Options") == comments
    assert registry.described(path, "Nothing") == {}


def test_a_users_method_is_loaded_from_its_file(tmp_path):
    """What it imports from another method counts; dataclasses with late annotations work."""
    own = tmp_path / "mine.py"
    own.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from baselines.flow_matching import NAME, applies\n\n"
        "@dataclass\nclass Method:\n    size: int\n\n"
        "def method(problem, size):\n    return Method(size)\n"
    )
    config = schema.Config(method_file=str(own), arm={"two": {"method": "mine", "lr": 1}})
    for arm in ("mine", "two"):
        assert registry.method_of(config, arm).method(None, 3).size == 3
    assert registry.arm_options(config, "two") == {"lr": 1}


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "=1+1", "ü", "a" * 81, "floor"])
def test_what_is_no_name(name):
    with pytest.raises(InputError, match="name"):
        registry.check_name("name", name)


def test_the_shipped_files_load():
    """With the real tree: every entry imports and is what its folder promises."""
    for name in registry.methods():
        assert callable(registry.method_of(schema.Config(), name).method)
    for name, path in registry.tasks().items():
        assert registry.load_task(name) is not None
        assert registry.task_defaults(path) == sys.modules[f"benchmarks.tasks.{name}"].DEFAULTS
        assert registry.summary(path)[0].isupper()
        schema.TaskConfig(name=name, **registry.task_defaults(path))


def test_names_that_live_twice_agree():
    """The schema names what crossflow defines behind torch."""
    from crossflow.network import SIZES
    from crossflow.solver import SOLVERS

    # Tests of the library may have added their small size in this process.
    assert set(schema.CHOICES["model"]) == set(SIZES) - {"toy"} == set(registry.models())
    assert set(schema.CHOICES["sampling.solver"]) == set(SOLVERS)


def test_fields_are_named_once_and_tables_name_fields():
    names = []
    for name, section, item in schema.leaves():
        path = Path(inspect.getfile(section))
        assert registry.described(path, section.__name__)[item.name][1], f"{name} has its sentence"
        names.append(name)
    assert {"task", "task.root", "budget.device_seconds", "training.lr", "seed"} <= set(names)
    assert len(names) == len(set(names))
    assert {*schema.CHOICES, *schema.PLACES, *schema.RULES} <= set(names)
    assert set(schema.COMMON) <= {item.name for item in fields(schema.TaskConfig)}
    sections = {name.partition(".")[0] for name in names}
    for unread in schema.UNREAD.values():
        assert set(unread.split()) <= {*names, *sections, "launcher"}
