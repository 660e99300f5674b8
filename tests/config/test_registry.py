"""The folder listing is the registry, and a wrong name lists the right ones."""

import pytest

from benchmarks.config import registry, schema
from crossflow.errors import InputError


def test_a_file_is_an_entry(packages):
    assert "depth_nyu" in registry.tasks()
    assert "shared_reading" not in registry.tasks(), "what tasks share is no task"
    assert list(registry.methods()) == ["crossflow", "flow_matching", "regression"]
    assert registry.tasks()["depth_nyu"].summary == "Task depth_nyu."
    (packages / "baselines/new.py").write_text("def method(problem, size): ...\n")
    assert "new" in registry.methods()


def test_a_wrong_name_lists_the_right_ones(packages):
    with pytest.raises(
        InputError, match=r"unknown task 'deph_nyu'. Did you mean depth_nyu\? There"
    ):
        registry.load_task("deph_nyu")
    with pytest.raises(InputError, match=r"unknown method 'x'\. There are: crossflow, flow"):
        registry.load_method("x")


def test_defaults_are_literals(packages):
    entry = registry.tasks()["depth_nyu"]
    assert registry.task_defaults(entry) == {"size": 32}
    entry.path.write_text("TASK = 1\n")
    assert registry.task_defaults(entry) == {}


def test_a_file_that_does_not_parse_is_named(packages):
    (packages / "baselines/broken.py").write_text("def method(:\n")
    with pytest.raises(InputError, match=r"broken.py: not a Python file"):
        registry.methods()


def test_a_users_method_is_loaded_from_its_file(packages):
    own = packages / "mine.py"
    own.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Method:\n    size: int\n\n"
        "def method(problem, size):\n    return Method(size)\n"
    )
    assert registry.load_method("mine", str(own)).method(None, 3).size == 3


def test_the_shipped_files_load():
    """With the real tree: every entry imports and is what its folder promises."""
    for name in registry.methods():
        assert callable(registry.load_method(name).method)
    for name, entry in registry.tasks().items():
        assert registry.load_task(name) is not None
        assert entry.summary
        schema.TaskConfig(name=name, **registry.task_defaults(entry))


def test_names_that_live_twice_agree():
    """The schema names what crossflow defines behind torch."""
    from crossflow.budget import Budget
    from crossflow.network import SIZES
    from crossflow.solver import SOLVERS

    # Tests of the library may have added their small size in this process.
    assert set(schema.MODELS) == set(SIZES) - {"toy"}
    assert set(schema.MODELS) == set(registry.models())
    assert set(schema.SOLVERS) == set(SOLVERS)
    assert set(schema.LIMITS) == set(Budget.__dataclass_fields__)


def test_every_field_is_known():
    names = schema.known_fields()
    for name in ("task", "task.root", "budget.device_seconds", "training.lr", "sampling.guidance"):
        assert name in names
    assert len(names) == len(set(names))
