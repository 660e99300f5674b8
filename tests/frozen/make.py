"""Computes the values of tests/test_frozen.py: `python -m tests.frozen.make [NAME ...]`.

Only where a commit says which number changes and why. `real` needs CROSSFLOW_BENCH_DATA.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch starts

from tests.frozen import values as net

HERE = Path(__file__).parent


def real(work):
    data = Path(os.environ["CROSSFLOW_BENCH_DATA"])
    return {task: net.real_values(task, data, work) for task in net.REAL}


MAKERS = {
    "processor": lambda work: net.processor(),
    "records": lambda work: net.record_values(),
    "derived": lambda work: net.derived_values(),
    "tabletop": net.tabletop_values,
    "real": real,
    "cost": lambda work: net.cost_values(),
    "losses": net.loss_values,
}
with tempfile.TemporaryDirectory() as folder:
    for name in sys.argv[1:] or MAKERS:
        content = json.dumps(MAKERS[name](Path(folder)), indent=1)
        (HERE / f"{name}.json").write_text(content + "\n")
