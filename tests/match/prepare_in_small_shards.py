"""`python -m benchmarks.prepare` with five rows a block: a few photographs fill several."""

import runpy

from crossflow import store

if __name__ == "__main__":
    store.BLOCK = 5
    runpy.run_module("benchmarks.prepare", run_name="__main__", alter_sys=True)
