"""One process is left alone by what several need."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from crossflow import world
from crossflow.errors import InputError


def test_a_process_group_of_the_users_own_is_no_crew(monkeypatch):
    """Who trains a flow in each of their own processes trains as many flows."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    assert (world.size(), world.rank(), world.share(4)) == (1, 0, range(4))


def test_the_library_loads_no_engine_of_several_processes():
    """It takes half a second, and some builds of torch lack it."""
    parts = [f"torch.distributed.{name}" for name in ("fsdp", "tensor")]
    script = f"import sys; sys.modules.update(dict.fromkeys({parts})); import crossflow.flow"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_half_of_what_torchrun_sets_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="WORLD_SIZE=2 without MASTER_ADDR"):
        world.join(torch.device("cpu"))
