"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Shapes and types of the library's annotations are checked at every call, in tests only. The tower:
# a whole number is a float too.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(["crossflow", "baselines"], CHECKER)

pytest_plugins = ["tests.fixtures.harness", "tests.fixtures.depth", "tests.fixtures.captions"]

# No test may reach a model hub, whatever library it goes through.
os.environ["HF_HUB_OFFLINE"] = "1"
# Set before torch starts: on tensors this small a second thread only waits, twenty times as long
# where the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """Folder of small real data in the published formats; named by CROSSFLOW_BENCH_DATA."""
    value = os.environ.get("CROSSFLOW_BENCH_DATA")
    if not value:
        pytest.skip("CROSSFLOW_BENCH_DATA is not set: no real data to test on")
    folder = Path(value)
    assert folder.is_dir(), f"CROSSFLOW_BENCH_DATA={value} is not a folder"
    return folder
