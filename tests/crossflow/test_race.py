"""Several arms: equal rows, turns by the clock, and what a failure of one leaves of the others."""

import math

import pytest
import torch

from crossflow.budget import Budget
from crossflow.errors import InputError
from crossflow.race import train_match
from crossflow.train import TrainingError

METHODS = ("crossflow", "flow_matching", "regression")


def test_under_seconds_the_whole_store_is_compared_before_the_clock_runs(toy, tmp_path):
    """Else the arm that reads a block first would pay for it."""
    trainer = toy.make_trainer(tmp_path, budget=Budget(device_seconds=0.01))
    trainer.store.read = lambda *_: pytest.fail("no row is asked for")
    path = tmp_path / "store/target.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged \(target\.npy, rows from 0 on\)"):
        train_match([trainer])
    assert trainer.clock.seconds("train") == 0


def test_arms_see_the_same_ids_in_the_same_order(toy, tmp_path):
    seen = {}
    trainers = [toy.make_trainer(tmp_path, method, Budget(samples=80)) for method in METHODS]
    for trainer in trainers:
        pairs, seen[trainer.name] = trainer.store.pairs, []

        def spy(rows, captions, pairs=pairs, name=trainer.name):
            seen[name].append((rows.tolist(), captions.tolist()))
            return pairs(rows, captions)

        trainer.store.pairs = spy
    train_match(trainers)
    # The warm-up reads the first step once more, on the copy; the last step reads one ahead.
    assert seen["crossflow"] == seen["flow_matching"] == seen["regression"]
    assert len(seen["crossflow"]) == 12
    assert len({trainer.chain.value for trainer in trainers}) == 1


def test_seconds_interleave_the_arms_forwards_and_backwards(toy, tmp_path, monkeypatch):
    trainers = [toy.make_trainer(tmp_path, m, Budget(device_seconds=9)) for m in METHODS[:2]]
    hands = [0.0]
    for trainer in trainers:
        monkeypatch.setattr(trainer.clock, "_now", lambda: hands[0])

        def slow(*given, update=trainer._update):
            hands[0] += 1  # every step takes a second of the train ledger
            return update(*given)

        monkeypatch.setattr(trainer, "_update", slow)
    turns = []
    monkeypatch.setattr("crossflow.race.WINDOW_SECONDS", 3)
    train_match(trainers, lambda t: turns.append(t.name[0]))
    assert "".join(turns) == "cccffffffccccccfff"
    for trainer in trainers:
        assert trainer.spent.device_seconds == trainer.clock.seconds("train") == 9
        assert trainer.throughput.verdict.startswith("not judged")


def test_a_failed_arm_leaves_the_others_go_on_and_its_run_starts_again(toy, tmp_path):
    trainers = [toy.make_trainer(tmp_path, m, Budget(steps=4)) for m in METHODS[:2]]

    def spoil(trainer):
        if trainer is trainers[0]:
            trainer.save()
            with torch.no_grad():
                next(trainer.arm.net.parameters()).fill_(math.nan)

    train_match(trainers, spoil)
    assert isinstance(trainers[0].failure, TrainingError)
    assert "crossflow: loss or gradient is not finite at step 1 (" in str(trainers[0].failure)
    assert trainers[1].failure is None
    assert trainers[1].done
    assert not (tmp_path / "crossflow" / "weights.safetensors").exists()
    again = toy.make_trainer(tmp_path, budget=Budget(steps=4))
    assert not again.resume()
    assert (again.spent.steps, again.clock.seconds("lost")) == (0, 0)


def test_a_full_disk_keeps_the_checkpoint(toy, tmp_path, monkeypatch):
    """Only numbers that are not finite start a run anew; what failed otherwise goes on."""
    trainer = toy.make_trainer(tmp_path, budget=Budget(steps=6), checkpoint_seconds=0.001)

    def full(*_):
        if trainer.spent.steps == 4:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("crossflow.files.os.fsync", full)
        train_match([trainer])
    assert "crossflow: OSError: [Errno 28] No space left on device (" in str(trainer.failure)
    assert isinstance(trainer.failure.__cause__, OSError)
    again = toy.make_trainer(tmp_path, budget=Budget(steps=6), checkpoint_seconds=0.001)
    steps = []
    train_match([again], lambda trainer: steps.append(trainer.spent.steps))
    assert steps == [4, 5, 6]
    assert again.failure is None
    unbroken = toy.make_trainer(tmp_path / "unbroken", budget=Budget(steps=6))
    train_match([unbroken])
    both = (trainer.arm.state_dict().values() for trainer in (again, unbroken))
    assert all(map(torch.equal, *both))


def test_arms_must_agree(toy, tmp_path):
    first = toy.make_trainer(tmp_path, "crossflow", Budget(steps=3))
    second = toy.make_trainer(tmp_path, "flow_matching", Budget(steps=4))
    with pytest.raises(ValueError, match="budget of flow_matching is not that of crossflow"):
        train_match([first, second])
