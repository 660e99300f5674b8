"""Computes the values of tests/test_frozen.py: `python tests/frozen/make.py [NAME ...]`.

Only where a commit says which number changes and why. `real` needs CROSSFLOW_BENCH_DATA.
"""

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
os.environ["OMP_NUM_THREADS"] = "1"
spec = importlib.util.spec_from_file_location("test_frozen", HERE.parent / "test_frozen.py")
net = importlib.util.module_from_spec(spec)
spec.loader.exec_module(net)


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
        values = MAKERS[name](Path(folder))
        (HERE / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")
