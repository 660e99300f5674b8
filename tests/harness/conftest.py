"""A command to call in this process, a registry of stand-in files, and records to report on."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks import keys, records, registry
from benchmarks.conf import command
from benchmarks.conf.schema import Config, check

TASKS = ("caption_tabletop", "depth_nyu", "depth_tabletop", "sr_tabletop", "t2i_tabletop")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A tree of tasks and methods that hold nothing but what the registry reads."""
    root = tmp_path / "packages"
    for folder in ("benchmarks/tasks", "benchmarks/metrics", "baselines", "crossflow"):
        (root / folder).mkdir(parents=True)
    for name in TASKS:
        text = f'"""Task {name}.\n\nMore."""\n\nDEFAULTS = {{"size": 32}}\nTASK = object()\n'
        (root / "benchmarks/tasks" / f"{name}.py").write_text(text)
    (root / "benchmarks/tasks/shared_reading.py").write_text('"""No task."""\n')
    method = '"""A method."""\n\n\ndef method(problem, size):\n    return None\n'
    for name in ("flow_matching", "regression", "floor"):
        (root / "baselines" / f"{name}.py").write_text(method)
    (root / "crossflow/coupling.py").write_text(method)
    monkeypatch.setattr(registry, "PACKAGES", root)
    return root


@dataclasses.dataclass
class Outcome:
    """What a command did: its status, what it printed, the configurations its jobs saw."""

    status: int
    stdout: str
    stderr: str
    configs: list[Config]

    @property
    def error(self) -> str:
        """The error line; fails if there is more than one line, or a traceback."""
        lines = [line for line in self.stderr.splitlines() if ": job " not in line]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("run: error: ")
        assert "Traceback" not in self.stderr
        return lines[0].removeprefix("run: error: ")


@pytest.fixture
def call(packages, tmp_path, monkeypatch, capsys):
    """call(*arguments, job=None) runs a command in an empty folder and returns its Outcome."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments, job=lambda config: 0):
        configs = []

        def recording(config):
            configs.append(config)
            return job(config)

        status = command.run(recording, list(arguments), command="run")
        printed = capsys.readouterr()
        return Outcome(status, printed.out, printed.err, configs)

    return run


def make_record(
    method="crossflow", seed=0, value=0.5, task="depth_tabletop", status="completed", **changes
):
    """A record as a run would write it. changes: score, fair (fields), config, top-level fields."""
    config = Config(seed=seed)
    check(config)
    plain = {**records.recorded_config(config), **changes.pop("config", {})}
    score = keys.score_fields(
        task=task,
        version=1,
        split="iid",
        items="1" * 12,
        truth="2" * 12,
        protocols={"depth": 1},
        primary="absrel_object",
    )
    score |= changes.pop("score", {})
    framing = method in registry.FRAMING or changes.get("kind") == "evaluation"
    fair = None
    if not framing:
        fair = keys.fair_fields(
            score,
            budget_kind="flops",
            budget_limit=2e13,
            model="T",
            batch=64,
            precision="float32",
            track="defaults",
            codecs={},
            trials=0,
            largest_nfe=16,
            null_rate=0.1,
            draws=1,
            ema="power, width 0.05",
        )
        fair |= changes.pop("fair", {})
    values = value if isinstance(value, dict) else {"absrel_object": value}
    better = {"delta1": "higher", "scene_score": "higher"}
    scores = {
        name: records.Score(
            value=number, stderr=0.01, n=256, better=better.get(name.split("/")[0], "lower")
        )
        for name, number in values.items()
    }
    network = records.Model(
        size="T",
        params=2_500_000,
        params_encoder=300_000,
        evaluation_flops=1e8,
        sample_flops=1.6e9,
        solver="heun",
        nfe=16,
        guidance=2.0,
    )
    spent = records.Budget(
        kind="flops", limit=2e13, steps=10, samples=640, train_flops=2e13, convention="2 a MAC"
    )
    fields = {
        "run_id": keys.run_id(task, method, plain),
        "match": "m1",
        "kind": "run",
        "task": task,
        "method": method,
        "status": status,
        "score_key": keys.digest(score),
        "fair_key": None if fair is None else keys.digest(fair),
        "fair": records.Fair(score=score, fair=fair, proof={}),
        "config": plain,
        "scores": scores if status == "completed" else {},
        "unavailable": {},
        "model": None if framing else network,
        "budget": None if framing else spent,
        "source": None,
        "volatile": records.Volatile(created="2026-01-01T00:00:00Z", device="cpu", threads=2),
    }
    return records.Record(**(fields | changes))


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def written(tmp_path):
    """written(records) -> a folder `out` that holds them."""

    def write(several) -> Path:
        for one in several:
            records.write(one, tmp_path / "out")
        return tmp_path / "out"

    return write
