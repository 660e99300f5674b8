"""The track `tuned`: learning rates come from trials on validation, alike for all arms."""

import csv
import json
import shutil

import pytest

from benchmarks.records import keys
from tests.match.tiny import by_method, call

ARMS = "methods=flow_matching+crossflow"


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    for lr in ("1e-3", "1e-2"):
        places = f"out={folder / 'out'}", f"work={folder / 'work'}"
        given = f"training.lr={lr}", "seed=100", "sampling.curve=[1]", ARMS
        assert call(*places, *given) == 0
    return folder / "out"


@pytest.fixture
def tuned(trials, tmp_path):
    """tuned(*overrides) runs a match on a copy of the trials; into `out`."""

    class Tuned:
        folder, out = tmp_path / "trials", tmp_path / "out"

        def __call__(self, *given):
            places = f"trials={self.folder}", f"out={self.out}", f"work={tmp_path / 'work'}"
            return call("track=tuned", *places, *given)

        def record(self, name, lr):
            """The file of one trial."""
            for path in (self.folder / "records" / "depth_tabletop").glob("*.json"):
                record = json.loads(path.read_text())
                if record["method"] == name and record["config"]["training"]["lr"] == lr:
                    return path
            raise AssertionError((name, lr))

        def curve(self, name, lr):
            """Its validation scores."""
            return self.folder / "curves" / "depth_tabletop" / f"{self.record(name, lr).stem}.csv"

    shutil.copytree(trials, Tuned.folder)
    return Tuned()


def test_each_arm_has_the_rate_that_was_best_on_validation(tuned):
    best = {"flow_matching": "0.001", "crossflow": "0.01"}
    for name, lr in best.items():
        for other in (0.001, 0.01):
            path = tuned.curve(name, other)
            with path.open() as file:
                rows = list(csv.DictReader(file))
            rows[-1]["value"] = "0.5" if float(lr) == other else "0.6"  # an error: less is better
            with path.open("w") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    assert tuned(ARMS) == 0
    records = by_method(tuned.out)
    for name, lr in best.items():
        record = records[name]
        assert record.config["arm"][name]["lr"] == float(lr)
        told = record.fair.proof["lr_trials"]
        assert told["scores"] == {rate: 0.5 if rate == lr else 0.6 for rate in ("0.001", "0.01")}
        assert (told["seed"], record.fair.fair["trials"]) == (100, 2)
        assert record.fair.fair["rules"]["lr_trials"]["lr"] == ["0.001", "0.01"]
        assert record.fair_key == keys.digest(record.fair.fair)
    assert records["crossflow"].fair_key == records["flow_matching"].fair_key


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("seed=100",), "which they would decide on"),
        (("methods=flow_matching+regression",), "regression: no trial of this arm"),
        (("training.batch=4",), "none of this task, size, model, batch and precision"),
        (("task.size=64",), "none of this task, size"),
        (("training.lr=3e-3",), "training.lr: track=tuned takes it from the trials"),
        (("arm.crossflow.lr=1e-3",), "arm.crossflow.lr: track=tuned takes it from the trials"),
        (("arm.crossflow.kl_weight=1.0", "methods=crossflow"), "none of this task"),
        (("track=defaults",), "go together"),
    ],
)
def test_what_the_trials_cannot_decide_is_refused(tuned, given, words, capsys):
    assert tuned(ARMS, *given) == 2
    assert words in capsys.readouterr().err
    assert not tuned.out.exists()


def test_arms_that_were_tried_unlike_are_refused(tuned, capsys):
    tuned.record("crossflow", 0.01).unlink()
    assert tuned(ARMS) == 2
    assert "every arm takes the same trials" in capsys.readouterr().err


def test_a_trial_without_validation_score_is_refused(tuned, capsys):
    tuned.curve("crossflow", 0.01).unlink()
    assert tuned(ARMS) == 2
    assert "trials need sampling.curve" in capsys.readouterr().err
    # Guidance alone was swept: the file is there.
    tuned.curve("flow_matching", 0.01).write_text("sweep,metric,value\nguidance,absrel,1\n")
    assert tuned("methods=flow_matching") == 2
    assert "trials need sampling.curve" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["task.validation_limit", "training.warmup", "sampling.curve"])
def test_trials_that_differ_in_more_than_the_rate_are_refused(tuned, setting, capsys):
    path = tuned.record("crossflow", 0.01)
    record = json.loads(path.read_text())
    section, field = setting.split(".")
    record["config"][section][field] = [2] if field == "curve" else 0.25
    path.write_text(json.dumps(record))
    assert tuned(ARMS) == 2
    assert f"differ in more than training.lr: {setting}" in capsys.readouterr().err


def test_a_score_that_is_no_number_is_not_the_best(tuned):
    name, lines = "flow_matching", "sweep,metric,value\nsteps,absrel_object,{}\n"
    for lr, value in ((0.001, "nan"), (0.01, "0.5")):
        tuned.curve(name, lr).write_text(lines.format(value))
    assert tuned(f"methods={name}") == 0
    record = by_method(tuned.out)[name]
    assert record.config["arm"][name]["lr"] == 0.01
    assert record.fair.proof["lr_trials"]["scores"] == {"0.001": None, "0.01": 0.5}


def test_a_rate_at_which_an_arm_failed_is_not_its_best(tuned, capsys):
    for lr in (0.01, 0.001):
        path = tuned.record("crossflow", lr)
        record = json.loads(path.read_text()) | {"status": "failed", "scores": {}}
        record["volatile"]["error"] = "TrainingError: the loss is not finite"
        tuned.curve("crossflow", lr).unlink()
        path.write_text(json.dumps(record))
        assert tuned(ARMS) == (0 if lr == 0.01 else 2)
    assert "of crossflow, every one failed" in capsys.readouterr().err
    record = by_method(tuned.out)["crossflow"]
    assert record.config["arm"]["crossflow"]["lr"] == 0.001
    assert record.fair.proof["lr_trials"]["scores"]["0.01"] is None


def test_an_arm_with_options_is_tried_with_them_and_a_tuned_run_is_no_trial(tmp_path):
    out = tmp_path / "out"
    arms = "methods=plain+usual", "arm.plain.method=crossflow", "arm.plain.source_encoder=plain"
    same = *arms, "arm.usual.method=crossflow", f"out={out}", f"work={tmp_path / 'work'}"
    assert call(*same, "seed=100", "sampling.curve=[1]") == 0
    for seed in (0, 1):
        assert call(*same, f"seed={seed}", "track=tuned", f"trials={out}") == 0
