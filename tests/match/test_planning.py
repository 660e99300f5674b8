"""Plans: they agree with runs, and say what they do not know."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import plan
from benchmarks.match import calibration
from benchmarks.match.device import PEAKS
from benchmarks.match.planning import _text, step_memory
from crossflow import crossflow
from crossflow.arm import build_arm
from crossflow.problem import MapShape, Problem
from tests.match.tiny import TINY, by_method, call, places

T2I = ["task=t2i_tabletop", *TINY[1:], "sampling.guidance=2"]
NYU = ["task=depth_nyu", "methods=crossflow"]
PEAK = """
import ctypes, gc, re, sys, tempfile
from pathlib import Path
from benchmarks.config import registry
from benchmarks.config.schema import Config, TaskConfig, check
from benchmarks.match.calibration import random_store
from benchmarks.match.planning import plans
from crossflow.arm import build_arm
from crossflow.budget import Budget, Training
from crossflow.train import Trainer

def held(what):
    return int(re.search(rf"{what}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

task, model, precision = sys.argv[1:]
size = registry.task_defaults(registry.tasks()[task])
training = Training(batch=32, precision=precision)
config = Config(task=TaskConfig(name=task, **size), methods="crossflow", device="cpu")
config.model, config.training = model, training
check(config)
problem, module = registry.task_of(config)(config).problem, registry.method_of(config, "crossflow")
folder = Path(tempfile.mkdtemp())
def train(model, rows):
    arm, run = build_arm(module, problem, model, batch=32), folder / model / str(rows)
    store = random_store(arm, rows, run / "store")
    settings = Training(batch=rows, precision=precision)
    trainer = Trainer(arm, store, Budget(steps=4), settings, run)
    trainer.run()
    trainer.finish()
train("T", 8)  # libraries are loaded
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")
before = held("VmRSS")
train(model, 32)
rise = held("VmHWM") - before
print(rise, plans(config)[0][0]["peak"][0])
"""


@pytest.fixture
def planned(tmp_path):
    """planned(*fields) -> rows of plan.csv by arm."""

    def made(*fields):
        assert plan.main([*fields, *places(tmp_path)]) == 0
        return pd.read_csv(tmp_path / "out" / "plan.csv").set_index("arm").to_dict("index")

    return made


OPTIONS = ["methods=crossflow", *("training=two_stage", "guidance=autoguidance")]
OPTIONS[1:] = [f"arm.crossflow.{option}" for option in OPTIONS[1:]]


@pytest.mark.parametrize("fields", [TINY, [*T2I, *OPTIONS]], ids=["depth", "t2i"])
def test_a_plan_says_what_the_record_will_say(planned, tmp_path, fields):
    arms = planned(*fields)
    assert call(*places(tmp_path), base=fields) == 0
    for name, row in arms.items():
        record = by_method(tmp_path / "out")[name]
        model, budget = record.model, record.budget
        assert row["params"] == model.params
        assert row["params"] - row["params_without_encoder"] == model.params_encoder
        assert (row["steps"], row["nfe"]) == (budget.steps, model.nfe)
        assert row["train_flops"] == pytest.approx(budget.train_flops, rel=1e-9)
        assert row["flops_an_item_sampled"] == model.sample_flops
        folder = tmp_path / "work" / row["task"] / record.run_id
        files = folder / "checkpoints/last.safetensors", folder / "weights.safetensors"
        assert row["checkpoint"] == pytest.approx(sum(f.stat().st_size for f in files), rel=0.05)
    arrays = [
        p for p in (tmp_path / "work/stores").glob("*/*.npy") if p.stem[:2] in ("so", "ta", "ma")
    ]
    headers = 128 * len(arrays)
    assert row["store"] == sum(path.stat().st_size for path in arrays) - headers


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("task", "model"), [("depth_tabletop", "T"), ("t2i_tabletop", "S")])
def test_peak_memory_is_within_15_percent(task, model, precision):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, task, model, precision],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    real, told = map(int, done.stdout.split())
    assert told == pytest.approx(real, rel=0.15)


def test_hours_by_a_published_rate(planned):
    fields = "methods=crossflow", "device=H100", "utilisation=0.5", "training.precision=bf16"
    row = planned(*TINY, *fields)["crossflow"]
    products = 8 * row["train_flops_a_sample"] / (0.5 * PEAKS["H100"]["bf16"])
    passes = 11 * row["weights"] / PEAKS["H100"]["bandwidth"]
    assert row["step_seconds"] == pytest.approx(products + passes)
    assert row["device_hours"] == pytest.approx(row["steps"] * row["step_seconds"] / 3600)
    again = planned(*TINY, *fields, "training.recompute=true")["crossflow"]
    assert again["step_seconds"] == pytest.approx(products * 4 / 3 + passes)
    assert again["train_flops"] == row["train_flops"]
    assert again["activations"] < 0.5 * row["activations"] and again["peak"] < row["peak"]
    parts = planned(*TINY, *fields, "training.accumulate=4")["crossflow"]
    assert parts["step_seconds"] == row["step_seconds"]
    assert parts["activations"] < 0.5 * row["activations"] and parts["peak"] < row["peak"]
    seconds = planned(*TINY[:-1], *fields, "budget.device_seconds=60")["crossflow"]
    assert seconds["device_hours"] == pytest.approx(60 / 3600, rel=1e-3)


def test_a_measured_machine_is_remembered_and_another_is_not_taken_for_it(
    planned, tmp_path, monkeypatch, capsys
):
    for name, small in {"SECONDS": 0.05, "SIDE": 64, "LENGTH": 2**16}.items():
        monkeypatch.setattr(calibration, name, small)
    fields = *TINY, "methods=regression"
    assert pd.isna(planned(*fields)["regression"]["device_hours"])
    assert "calibrate=true measures" in capsys.readouterr().out
    first = planned(*fields, "calibrate=true")["regression"]
    assert first["rate"].startswith("measured: ")
    assert (
        planned(*fields, "budget.samples=8")["regression"]["step_seconds"] == first["step_seconds"]
    )
    assert planned(*fields, "training.batch=16")["regression"]["rate"].startswith("40% of ")
    assert planned(*fields, "utilisation=0.2")["regression"]["rate"].startswith("20% of ")
    path = tmp_path / "work" / "machine.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps(there | {"about": there["about"] | {"threads": 99}}))
    assert pd.isna(planned(*fields)["regression"]["device_hours"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["device=V100"], "device=V100: use auto, cpu, cuda or cuda:N, H100"),
        (["device=H100", "calibrate=true"], "device=H100: only this machine is measured"),
        (["sampling.guidance=2"], "depth_tabletop trains no null rows"),
        (["utilisation=1.5"], "utilisation=1.5: must be above 0"),
        (["+launcher=slurm"], "launcher: `plan` does not use it"),
        (["task=t2i_geneval"], "nothing to train on"),
        (["task=t2i_tabletop", "methods=regression"], "none of them applies"),
        (["task=sr_tabletop", "methods=bridge", "sampling.solver=dopri5"], "needs fixed steps"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, fields, message):
    assert plan.main([*fields, *places(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_not_known_is_said(planned, capsys):
    row = planned(*NYU, "sampling.solver=dopri5", "device=RTX 4090")["crossflow"]
    text = capsys.readouterr().out
    assert pd.isna(row["nfe"]) and "by dopri5, which decides" in text
    assert pd.isna(row["store"]) and "give task.root, or task.train_limit" in text
    assert planned("task=t2i_coco", "methods=crossflow")["crossflow"]["params"] > 2e6
    assert "the vocabulary has 10,000 words" in capsys.readouterr().out
    limits = [f"task.{name}=10" for name in ("train_limit", "validation_limit", "limit")]
    assert planned(*NYU, *limits)["crossflow"]["store"] == 30 * 96 * 128 * (4 + 3)
    planned(*NYU, "device=RTX 4090", "model=XL")
    assert "more than the 24 GB of RTX 4090" in capsys.readouterr().out


def test_a_method_of_ones_own_that_needs_real_numbers(planned):
    own = Path(__file__).parents[1] / "examples" / "minibatch_ot.py"
    arms = planned(*TINY, "methods=flow_matching", f"method_file={own}")
    ours, theirs = arms["minibatch_ot"], arms["flow_matching"]
    assert ours["peak"] == pytest.approx(theirs["peak"], rel=0.05)


def test_a_gpu_keeps_no_written_out_attention():
    shape = MapShape(4, 32, 32)
    problem = Problem(shape, shape, 2, "identity", None, null_rate=0.0)
    arm = build_arm(crossflow, problem, "T", device="meta")
    gpu = step_memory(arm, 64, "bf16", cpu=False)[0]
    cpu = step_memory(build_arm(crossflow, problem, "T", device="meta"), 64, "bf16", cpu=True)[0]
    # Of 8 layers and 4 heads: the weights of 256 x 256 pairs in bf16, for a sum a row in fp32.
    assert cpu - gpu == 64 * 8 * 4 * 256 * (256 * 2 - 4)


def test_no_one_of_many_processes_writes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan.main([*TINY, *places(tmp_path)]) == 2
    assert "one process writes it" in capsys.readouterr().err


def test_numbers_are_short():
    assert [
        _text(n, "B") for n in (0.02, 1, 5e3, 9e23, 1e24)
    ] == "20 mB|1 B|5 kB|900 ZB|1 YB".split("|")


def test_a_plan_takes_the_shapes_of_weights_that_are_not_here(tmp_path, capsys):
    names = "weights.autoencoder=a/vae weights.text_encoder=a/t5"
    arguments = f"task=t2i_coco methods=crossflow task.size=64 {names} training.batch=4".split()
    assert plan.main([*arguments, *places(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "weights.autoencoder=a/vae is not here: latents have 4 channels" in text
    assert "weights.text_encoder=a/t5 is not here: its tokens have 4096 numbers" in text
    assert plan.main([*arguments, "weights.text_encoder=/no", *places(tmp_path)]) == 2
