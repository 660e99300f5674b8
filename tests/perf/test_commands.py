"""The commands of speed run, and print their figure; what it is depends on the machine."""

import os
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
        ("outside_training", ["--out=results/public"], r"t2i_tabletop crossflow +29\.7% +17\.1%"),
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


@pytest.mark.filterwarnings("ignore")  # theirs
def test_the_official_step_is_timed(monkeypatch, capsys):
    if not (checkout := os.environ.get("CROSSFLOW_OFFICIAL")):
        pytest.skip("CROSSFLOW_OFFICIAL names no checkout of the official code")
    words = ["--model=T", "--batch=4", "--steps=1", "--eager", f"--official={checkout}"]
    printed = call(monkeypatch, capsys, "official_step", *words)
    assert re.search(r"eager: .*\nas released: .* 1.00, .*\nno checkpointing: ", printed)


@pytest.mark.parametrize(
    ("name", "option"), [("training_step", "against"), ("official_step", "official")]
)
def test_a_folder_that_is_no_checkout_is_refused(name, option, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, capsys, name, f"--{option}={tmp_path}")
    assert f"--{option} {tmp_path}: has no " in capsys.readouterr().err
