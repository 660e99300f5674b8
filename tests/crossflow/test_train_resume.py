"""A killed run goes on bit for bit: 10 steps are 5, a kill, and 5 more."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crossflow import checkpoint, world
from crossflow.budget import Budget
from crossflow.errors import InputError
from crossflow.race import train_match

METHODS = ("crossflow", "flow_matching")
ROOT = Path(__file__).resolve().parents[2]


def outcome(trainer):
    """All that must be equal: weights, average, optimizer, counters and what was read."""
    trainer.save()
    path = trainer.folder / "checkpoints/last.safetensors"
    groups, state = checkpoint.read(path, torch.device("cpu"))
    return groups, state["spent"] | {"device_seconds": None}, state["chain"]


def assert_same(first, second):
    assert first[1:] == second[1:]
    assert first[0].keys() == second[0].keys() > {"arm", "ema", "optimizer/0"}
    for group, tensors in first[0].items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, second[0][group][name]), (group, name)


STAGED = {"training": "separate", "first_stage": 0.6}  # the kill is in the first
GUIDED = {"guidance": "autoguidance", "weak_share": 0.3}  # and after the weak copy is kept


@pytest.mark.parametrize(
    ("method", "options"),
    [*((method, {}) for method in METHODS), ("crossflow", STAGED), ("crossflow", GUIDED)],
)
def test_ten_steps_are_five_a_kill_and_five(toy, tmp_path, method, options):
    unbroken = toy.make_trainer(tmp_path / "unbroken", method, options=options)
    unbroken.run()
    killed = toy.make_trainer(tmp_path / "killed", method, options=options)
    for _ in range(5):
        killed.step()
    killed.save()
    for _ in range(2):
        killed.step()  # done after the checkpoint, and lost
    killed.clock.beat()
    del killed
    torch.manual_seed(99)  # a new process has another generator
    resumed = toy.make_trainer(tmp_path / "killed", method, options=options)
    assert resumed.resume()
    assert resumed.spent.steps == 5
    assert resumed.clock.seconds("lost") > 0
    resumed.run()
    assert_same(outcome(resumed), outcome(unbroken))
    assert _stats(tmp_path / "killed" / method) == _stats(tmp_path / "unbroken" / method)


def _stats(folder):
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    timed = ("device_seconds", "samples_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def test_ledgers_survive_a_resume_and_add_up(toy, tmp_path):
    start = time.perf_counter()
    first = toy.make_trainer(tmp_path)
    outside = time.perf_counter() - start
    with first.clock("other"):
        for _ in range(4):
            first.step()
        first.throughput.windows.append(8.0)
        first.save()
        saved = first.clock.seconds("train")
        first.step()
        done = first.clock.seconds("train")
    first.clock.beat()
    start_second = time.perf_counter()
    second = toy.make_trainer(tmp_path)
    outside += time.perf_counter() - start_second
    second.resume()
    assert second.clock.seconds("train") == pytest.approx(saved)
    assert second.throughput == first.throughput
    second.run()
    wall = time.perf_counter() - start - outside
    # abs: the clock starts a few lines after `start`, and a busy machine may rest between them
    assert second.clock.wall == pytest.approx(wall, rel=0.01, abs=0.05)
    assert second.clock.seconds("lost") == pytest.approx(done - saved)


def test_a_finished_run_trains_nothing(toy, tmp_path):
    first = toy.make_trainer(tmp_path, budget=Budget(steps=3))
    train_match([first])
    again = toy.make_trainer(tmp_path, budget=Budget(steps=3))
    steps = []
    train_match([again], lambda trainer: steps.append(trainer.spent.steps))
    assert steps == []
    assert_same(outcome(again), outcome(first))
    assert again.last == first.last


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 4}, "batch was 8, is 4"),
        ({"lr": 0.5}, r"lr was 0\.001, is 0\.5"),
        ({"options": {"kl_weight": 1.0}}, r"option kl_weight was 1\.28, is 1\.0"),
        ({"budget": Budget(steps=11)}, r"budget was '10\.0 steps', is '11\.0 steps'"),
    ],
)
def test_a_resume_with_other_settings_is_refused(toy, tmp_path, settings, message):
    toy.make_trainer(tmp_path).save()
    with pytest.raises(InputError, match=f"cannot resume from .*{message}"):
        toy.make_trainer(tmp_path, **settings).resume()


def test_a_resume_on_another_machine_or_other_data_is_refused(toy, tmp_path, monkeypatch):
    toy.make_trainer(tmp_path).save()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 2)
        patch.setattr(torch, "__version__", "2.99.0")
        with pytest.raises(InputError, match=r"threads was 1, is 2; torch was .*, is '2\.99\.0'"):
            toy.make_trainer(tmp_path).resume()
    shutil.rmtree(tmp_path / "store")
    toy.make_store(tmp_path / "store", rows=40)
    with pytest.raises(InputError, match="data was"):
        toy.make_trainer(tmp_path).resume()


@pytest.mark.parametrize(
    "method", ["crossflow", pytest.param("flow_matching", marks=pytest.mark.slow)]
)
def test_sigkill_at_a_random_moment(toy, tmp_path, method):
    """A real process, killed with SIGKILL somewhere in training, started again by the same line."""
    steps = 30
    script = Path(__file__).with_name("toy_run.py")
    command = [sys.executable, str(script), method, str(steps), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    moment = random.SystemRandom().randrange(2, steps - 5)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= moment:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, f"not killed at step {moment}"
    assert not (tmp_path / "killed" / method / "weights.safetensors").exists()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=300)
    unbroken = toy.make_trainer(tmp_path / "unbroken", method, Budget(samples=8 * steps))
    train_match([unbroken])
    resumed = toy.make_trainer(tmp_path / "killed", method, Budget(samples=8 * steps))
    assert resumed.resume()
    assert_same(outcome(resumed), outcome(unbroken))
    assert _stats(tmp_path / "killed" / method) == _stats(tmp_path / "unbroken" / method)
    exported = [tmp_path / n / method / "weights.safetensors" for n in ("killed", "unbroken")]
    assert exported[0].read_bytes() == exported[1].read_bytes()


def test_another_number_of_processes_pays_for_its_own_seconds_alone(toy, tmp_path, monkeypatch):
    """Where seconds are the budget it would be another race: its record names one number."""
    trainer, timed = (
        toy.make_trainer(tmp_path / str(budget), budget=budget)
        for budget in (Budget(steps=9), Budget(device_seconds=99))
    )
    for each in (trainer, timed):
        each.step()
        each.save()
    monkeypatch.setattr(world, "size", lambda: 2)
    monkeypatch.setattr(world, "from_first", lambda value: value)
    trainer.resume()
    alone = trainer.spent.device_seconds
    assert trainer.clock.seconds("train") == 2 * alone  # one by one process, then one by two
    trainer._spend_time()
    assert trainer.spent.device_seconds == pytest.approx(3 * alone)
    with pytest.raises(InputError, match=r"budget was .* is .*of 2 processes"):
        timed.resume()


COMPILED = """
import sys
from toy_run import Budget, Path, make_trainer

trainer = make_trainer(Path(sys.argv[1]), "flow_matching", Budget(steps=4), compile=True)
trainer.resume()
while trainer.spent.steps < int(sys.argv[2]):
    trainer.step()
trainer.save()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_run_goes_on_bit_for_bit(tmp_path):
    """In processes without the checker of shapes, which cannot be compiled."""
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    for name, steps in (("unbroken", 4), ("killed", 2), ("killed", 4)):
        command = [sys.executable, "-c", COMPILED, str(tmp_path / name), str(steps)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, check=True)
    paths = (
        tmp_path / name / "flow_matching/checkpoints/last.safetensors"
        for name in ("unbroken", "killed")
    )
    (one, first), (other, second) = (checkpoint.read(path, torch.device("cpu")) for path in paths)
    assert first["chain"] == second["chain"]
    assert first["spent"]["steps"] == 4
    for group, tensors in one.items():
        assert all(torch.equal(tensor, other[group][name]) for name, tensor in tensors.items())
