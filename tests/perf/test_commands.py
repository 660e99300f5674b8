"""The commands of speed run, and print their figure; what it is depends on the machine."""

import re
import sys
from argparse import Namespace
from importlib import import_module

import pytest

from benchmarks.perf import growth, turns

TINY = ["--rounds=1", "--device=cpu"]


def call(monkeypatch, capsys, name, *words):
    """What a command prints."""
    monkeypatch.setattr(sys, "argv", [name, *TINY, *words])
    turns.command(import_module(f"benchmarks.perf.{name}").main)
    return capsys.readouterr().out


def test_a_ratio_is_the_median_over_rounds_and_orders_alternate():
    called, slow = [], iter([9.0, 2.0, 8.0, 4.0])  # the first warms up

    def work(name, seconds):
        def turn(count):
            called.append(name)
            return count * seconds()

        return turn

    works = {"slow": work("slow", lambda: next(slow)), "fast": work("fast", lambda: 1.0)}
    rounds = turns.Rounds(works, Namespace(rounds=3, steps=5, device="cpu"))
    assert called == ["slow", "fast", "fast", "slow", "slow", "fast", "fast", "slow"]
    assert (rounds.ratio("slow", "fast"), rounds.seconds("slow"), rounds.first["slow"]) == (4, 4, 9)


@pytest.mark.parametrize(
    ("name", "words", "figure"),
    [
        ("training_step", ["--batch=4", "--steps=1"], r"GFLOP/s: .*%\nloop over bare: \d"),
        ("sampling", ["--batch=4", "--nfe=1"], r"over two passes in fp32: .* in bf16"),
        ("store_rows", ["--batch=4", "--rows=8", "--steps=1"], r"store over step: \d"),
        ("outside_training", ["--out=results/public"], r"t2i_tabletop crossflow of 2e\+13 +7\.6%"),
    ],
)
def test_a_command_prints_its_figure(name, words, figure, monkeypatch, capsys):
    assert re.search(figure, call(monkeypatch, capsys, name, *words))


def test_a_mistake_in_an_option_is_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, capsys, "training_step", "--batch=3")
    assert (
        capsys.readouterr().err == "error: training.batch=3: null rows need a batch of 4 or more\n"
    )


def test_growth_prints_a_table_and_draws_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(growth, "FACTORS", (1, 2))
    words = ["--batch=4", "--rows=8", f"--figure={tmp_path / 'growth.png'}"]
    printed = call(monkeypatch, capsys, "growth", *words)
    assert re.search(r"width +1.00 \(FLOPs 1.00\) +[\d.]+ \(FLOPs 3.8\d\)", printed)
    assert (tmp_path / "growth.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "figure"),
    [
        ("start_up", ["--rows=8"], r"list: .*goal 1 s\nreport: .*goal 2 s\nrun: .*goal 10 s"),
        ("training_step", ["--batch=4", "--against=.", "--processes=2"], r"other's: .*\n2 proc"),
    ],
)
def test_a_command_of_several_processes_prints_its_figure(name, words, figure, monkeypatch, capsys):
    assert re.search(figure, call(monkeypatch, capsys, name, *words))


# What the command calls of a checkout of the official code, with a step that costs nothing.
STAND_IN = {
    "libs/model/dit_t2i.py": """
import torch
TransEncoder = Adaptor = open_clip = None
class Block(torch.nn.Linear):
    _forward = torch.nn.Linear.forward
class DiT(torch.nn.Module):
    def __init__(self, config, patch_size, hidden_size, depth, num_heads):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block(1, 1) for _ in range(depth))
    def _reparameterize(self, mean, logvar):
        return mean
    def forward(self, latent, cond, mask):
        z0 = self._text_encoder(cond, None, mask)[0]
        return z0.mean() + self._img_clip(latent)[0].mean()
""",
    "diffusion/flow_matching.py": """
class FlowMatching:
    def __call__(self, latent, net, batch_img_clip, cond, con_mask, **given):
        return net(latent, cond, con_mask).reshape(1), None
""",
    "utils.py": """
import torch
def trainable_parameters(net):
    return net.parameters()
def get_optimizer(parameters, name, **settings):
    return torch.optim.AdamW(parameters, **settings)
def get_lr_scheduler(optimizer, name, warmup_steps):
    return torch.optim.lr_scheduler.ConstantLR(optimizer)
def ema(average, net, rate):
    assert rate == 0.9999
""",
}


def test_the_official_step_is_timed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in STAND_IN.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = ["--model=T", "--batch=4", "--steps=1", "--eager", f"--official={tmp_path}"]
    printed = call(monkeypatch, capsys, "official_step", *words)
    for name in ("libs", "libs.model", "libs.model.dit_t2i", "diffusion.flow_matching", "utils"):
        sys.modules.pop(name, None)
    assert re.search(r"eager: .*\nas released: .* 1.00, .*\nno checkpointing: ", printed)


@pytest.mark.parametrize(
    ("name", "option"), [("training_step", "against"), ("official_step", "official")]
)
def test_a_folder_that_is_no_checkout_is_refused(name, option, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, capsys, name, f"--{option}={tmp_path}")
    assert f"--{option} {tmp_path}: has no " in capsys.readouterr().err
