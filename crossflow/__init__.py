"""CrossFlow Bench's library: trains any flow between modalities under a budget.

Names are looked up when they are used, so that `import crossflow.errors` needs no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ArmError": "errors",
    "Budget": "budget",
    "Flow": "flow",
    "Grid": "solver",
    "InputError": "errors",
    "MapShape": "problem",
    "Problem": "problem",
    "Store": "store",
    "TokenShape": "problem",
    "Training": "budget",
    "build_arm": "arm",
    "make_store": "flow",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crossflow' has no attribute {name!r}")
    return getattr(import_module(f"crossflow.{_HOMES[name]}"), name)
