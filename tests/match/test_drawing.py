"""Weights of CrossFlow's authors: drawn from by `sample`, scored by `evaluate`, trained on from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import evaluate, run, sample
from benchmarks.codecs import text as codecs
from benchmarks.config import command
from benchmarks.data.images import read_rgb
from benchmarks.match.sampling import item_number
from benchmarks.records import record as records
from benchmarks.report.tables import build
from crossflow import official
from crossflow.draws import ItemDraws
from crossflow.files import sha256
from crossflow.method import Ends, Method
from crossflow.problem import TokenShape
from crossflow.solver import Grid
from tests.fixtures.official import numbers, small

DRAWN = ["sampling.steps=2", "seed=3", "predictions=drawn"]
RUN = ["training.batch=8", "budget.steps=1", "sampling.steps=1", "sampling.guidance=2"]


def features(texts):
    """In CLIP's place: 6 tokens of 32 numbers, fewer of short texts."""
    made = np.stack([numbers(text, 6, 32).numpy() for text in texts]).astype(np.float16)
    return made, np.arange(6) < np.array([[len(text) % 5 + 2] for text in texts])


@pytest.fixture
def autoencoder(tmp_path):
    """A KL autoencoder of the small network's latents, with its own factor and shift."""
    import diffusers

    torch.manual_seed(0)
    down, up = ("DownEncoderBlock2D",) * 3, ("UpDecoderBlock2D",) * 3
    sizes = {"block_out_channels": (8, 8, 8), "down_block_types": down, "up_block_types": up}
    sizes |= {"layers_per_block": 1, "latent_channels": 8, "norm_num_groups": 4}
    network = diffusers.AutoencoderKL(**sizes, scaling_factor=0.25, shift_factor=0.5).eval()
    network.save_pretrained(tmp_path / "vae")
    return network


@pytest.fixture
def given(tmp_path, monkeypatch, coco_root, autoencoder):
    """The fields of data and weights: a small network of the official design, by its name."""
    toy = codecs.CaptionTokens(TokenShape(6, width=32), features, {"text_encoder": {"sha256": "a"}})
    monkeypatch.setattr(codecs, "load_text_encoder", lambda *_: toy)
    monkeypatch.setitem(official.NAMES, "small_dit", (3, 2, 32, 16))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))  # no weights there
    torch.save(small("dit").state_dict, tmp_path / "small_dit.pth")
    monkeypatch.chdir(tmp_path)
    fields = [f"task.root={coco_root}", "task.size=64", "task.limit=4"]
    return [*fields, "weights.text_encoder=clip", "weights.autoencoder=vae"]


def test_one_command_draws_what_evaluate_scores(given, autoencoder, capsys):
    line = [*given, "checkpoint=small_dit.pth", *DRAWN]
    shutil.rmtree("coco/train2014")  # nothing is trained
    Path("coco/annotations/captions_train2014.json").unlink()
    assert sample.main(line) == 0
    assert "4 pictures: drawn" in capsys.readouterr().out
    assert sample.main(["--help"]) == 0
    assert "sampling.steps=50 " in capsys.readouterr().out
    fields = ["task=t2i_coco", *given[:3], "predictions=drawn", "name=theirs"]
    assert command.run(evaluate.job, fields, command="evaluate") == 0
    (record,) = records.read_all(Path("results/local"))
    assert (record.kind, record.method) == ("evaluation", "theirs")
    before = {path.stem: read_rgb(path) for path in Path("drawn").glob("*.png")}
    # By hand: the official start, grid and guidance, latents in the autoencoder's own units.
    name, picture = sorted(before.items())[0]
    model = official.load_official("small_dit.pth")
    listed = json.loads(Path("coco/annotations/captions_val2014.json").read_text())["annotations"]
    (caption,) = (each["caption"] for each in listed if str(each["id"]) == name)
    values, mask = map(torch.from_numpy, features([caption]))
    with torch.no_grad():
        mean, logvar = model.encode_text(values.float(), mask)
        noise = ItemDraws(3, [item_number(name)]).normal("source", (8, 16, 16))
        method, x0 = Method(model.problem), mean + (logvar / 2).exp() * noise
        ends = Ends(x0, None, null=torch.tensor([False]))
        x1 = method.sample(model.net, ends, Grid(2, "euler_official"), 7.0).x
        unit = autoencoder.decode(x1 / 0.2301).sample[0].clamp(-1, 1)
    assert np.ptp(picture) > 20
    assert np.abs((unit.permute(1, 2, 0).numpy() + 1) * 127.5 - picture).max() < 0.51
    # Goes on where it was stopped; other settings are refused.
    Path("drawn", f"{name}.png").unlink()
    assert sample.main([*line, "sampling.batch=1"]) == 0
    after = {path.stem: read_rgb(path) for path in Path("drawn").glob("*.png")}
    assert all(np.abs(after[n].astype(int) - before[n]).max() <= 1 for n in before)
    assert sample.main([*line, "seed=4"]) == 2
    assert "drawn otherwise (seed was 3, is 4)" in capsys.readouterr().err
    # Half of the side, as 512 pixels are scored at 256.
    assert sample.main([*line, "task.size=32", "predictions=half"]) == 0
    assert read_rgb(Path("half", f"{name}.png")).shape == (32, 32, 3)


def test_what_does_not_fit_is_one_line(given, monkeypatch, capsys):
    wide = {"context_encoder.linear.weight": torch.ones(4096, 28)}  # seven tokens
    torch.save(small("dit").state_dict | wide, "wide_dit.pth")
    monkeypatch.setitem(official.NAMES, "wide_dit", (3, 2, 32, 16))
    ours = "checkpoint=small_dit.pth"
    for typed, said in {
        "seed=0": "checkpoint: is needed",
        "checkpoint=none.pth": "none.pth: no such file",
        "checkpoint=wide_dit.pth": "weights.text_encoder gives TokenShape(length=6, ",
        f"{ours} task.size=48": "the checkpoint draws 64, to keep or to halve",
        f"{ours} task=caption_coco": "caption_coco does not use it, leave it out",
        f"{ours} task.prompts=x": "task.prompts: `sample` does not use it",
        f"{ours} predictions=coco": "predictions=coco: holds something else",
    }.items():
        places = [] if "predictions" in typed else ["predictions=drawn"]
        assert sample.main([*given, *places, *typed.split()]) == 2
        error = capsys.readouterr().err
        assert said in error.splitlines()[-1] and "Traceback" not in error
        assert not Path("drawn").exists()


def test_an_arm_that_is_trained_on_from_weights_stands_apart(given, capsys):
    names = "methods=crossflow+theirs", "arm.theirs.method=crossflow"
    line = ["task=t2i_coco", *given, *RUN, *names, "quick=true", "task.train_limit=8"]
    assert command.run(run.job, [*line, "arm.theirs.init=small_dit.pth"], command="run") == 0
    found = {record.method: record for record in records.read_all(Path("results/local"))}
    ours, theirs = found["crossflow"], found["theirs"]
    digest = sha256(Path("small_dit.pth"))
    assert theirs.fair.fair["rules"] == ours.fair.fair["rules"] | {"init_sha256": digest}
    assert theirs.fair_key != ours.fair_key and theirs.score_key == ours.score_key
    assert (theirs.model.network["width"], theirs.model.network["depth"]) == (48, 3)
    assert theirs.config["arm_files"].keys() == {"arm.theirs.init"}
    tables = build([ours, theirs])
    assert [len(table.rows) for table in tables] == [1, 1]
    told = [note for table in tables for note in table.footnotes if digest in note]
    assert told == [
        f"theirs: began with trained weights, which its budget leaves out (SHA-256 {digest})"
    ]
    capsys.readouterr()
    for wrong, said in {
        "init=~/no(where).pth": "arm.theirs.init=~/no(where).pth: no such file",
        "init=small_dit.pth arm.theirs.null_rate=0.0": "null_rate=0: the network of init=small_dit",
        "init=small_dit.pth arm.theirs.guidance=autoguidance": "guidance=autoguidance: the network",
        "init=small_dit.pth arm.theirs.readout=dense": "arm.theirs.readout=dense: would be ignored",
    }.items():
        assert command.run(run.job, [*line, *f"arm.theirs.{wrong}".split()], command="run") == 2
        assert said in capsys.readouterr().err
    same = [*line, "task.size=32", "arm.theirs.init=small_dit.pth"]
    assert command.run(run.job, same, command="run") == 2
    assert "init=small_dit.pth: its weights are from TokenShape" in capsys.readouterr().err
