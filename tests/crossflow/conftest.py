"""What the library's tests share: one thread, and the small training run of toy_run.py."""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Maps this small only wait for a second thread, for long where the machine is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """toy_run.py as a module; it is also a script, which a test kills from outside."""
    return import_module("tests.crossflow.toy_run")
