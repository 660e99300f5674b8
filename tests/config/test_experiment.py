"""The presets: each composes, and each twin for a small machine ends with its table."""

import re
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.config import command, registry
from benchmarks.metrics import captions
from benchmarks.records import record as records
from benchmarks.tasks import caption_tabletop
from crossflow.network import SIZES, Size

NAMES = sorted(path.stem for path in Path(registry.__file__).parent.glob("experiment/*.yaml"))
TWINS = [name for name in NAMES if name.endswith("_tabletop")]
TINY = [
    *("task.train_limit=16", "task.validation_limit=2", "task.limit=2", "training.batch=4"),
    *("budget.samples=4", "sampling.steps=1", "sampling.solver=euler", "sampling.curve=[]"),
    *("sampling.guidance=2", "training.precision=fp32", "quick=true"),
]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_composes(name, tmp_path):
    def job(config):
        registry.task_of(config)  # which refuses fields that it would ignore
        return 0

    assert command.run(job, [f"+experiment={name}", f"work={tmp_path}"], command="run") == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("paper_")])
def test_an_experiment_says_what_it_repeats(name):
    assert re.match("(Table|Figure)s? [1-9]", registry.presets("experiment")[name])
    assert name.removesuffix("_tabletop") + "_tabletop" in TWINS


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_ends_with_its_table(name, tmp_path, capsys, monkeypatch):
    work = tmp_path.parent / "twins"  # scenes, codecs and stores of all
    monkeypatch.setattr(caption_tabletop, "CODEC_STEPS", 2)
    monkeypatch.setattr(captions, "find_java", lambda: (None, "slow to start"))
    for model in ("T", "S"):
        monkeypatch.setitem(SIZES, model, Size(3, 256, 4, 1024))
    assert run.main([f"+experiment={name}", *TINY, f"out={tmp_path}", f"work={work}"]) == 0
    rows = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line}
    assert {"floor", "oracle"} < {record.method for record in records.read_all(tmp_path)} <= rows
