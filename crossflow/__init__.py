"""CrossFlow Bench's library: trains any flow between modalities under a budget.

Names are looked up when they are used, so that `import crossflow.errors` needs no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "arm": ["build_arm"],
    "budget": ["Budget", "Training"],
    "errors": ["ArmError", "InputError"],
    "flow": ["Flow", "make_store"],
    "problem": ["MapShape", "Problem", "TokenShape"],
    "solver": ["Grid"],
    "store": ["Store"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossflow' has no attribute {name!r}")
    return getattr(import_module(f"crossflow.{_HOME[name]}"), name)
