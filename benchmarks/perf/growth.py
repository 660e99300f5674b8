"""Seconds of training a sample as batch, tokens, width and data grow 2, 4 and 8 times, by turns.

python -m benchmarks.perf.growth --figure benchmarks/perf/growth.png

The base: --model, 64 tokens, --batch, --rows of data. The machine's limit is what the FLOPs of a
sample grow by: with the square of the width and, in attention, of the tokens.
"""

import tempfile
from dataclasses import replace
from unittest.mock import patch

from benchmarks.perf import turns
from benchmarks.perf.training_step import tabletop
from crossflow.network import SIZES

FACTORS = (1, 2, 4, 8)
GRIDS = {1: (8, 8), 2: (8, 16), 4: (16, 16), 8: (16, 32)}
NAMES = ("batch", "tokens", "width", "data")
Growth = dict[str, list[tuple[float, float]]]  # seconds and FLOPs a sample over the base's


def main() -> None:
    settings = {"model": "T", "batch": 16, "rows": 512, "precision": "bf16", "steps": 1}
    given = turns.options(__doc__, figure="growth.png", compile=False, **settings).parse_args()
    works, flops, size = {}, {}, SIZES[given.model]
    with tempfile.TemporaryDirectory() as folder:
        for case in ("batch 1", *(f"{name} {factor}" for name in NAMES for factor in FACTORS[1:])):
            name, times = case.split()
            grown = dict.fromkeys(NAMES, 1) | {name: int(times)}
            width, hidden = size.width * grown["width"], size.hidden * grown["width"]
            rows = {"batch": given.batch * grown["batch"], "rows": given.rows * grown["data"]}
            with patch.dict(SIZES, {given.model: replace(size, width=width, hidden=hidden)}):
                problem = tabletop(*GRIDS[grown["tokens"]])
                trainer = turns.trainer(problem, given, folder, name=case, **rows)
            works[case], flops[case] = turns.of(trainer.step, given.device), trainer.arm.cost
        rounds = turns.Rounds(works, given)
    print(f"base: {1e3 * rounds.seconds('batch 1') / given.batch:.2f} ms a sample")
    table = Growth()
    for name in NAMES:
        for factor in FACTORS:
            case = "batch 1" if factor == 1 else f"{name} {factor}"
            seconds = 1 / rounds.ratio("batch 1", case) / (factor if name == "batch" else 1)
            work = flops[case].flops_train / flops["batch 1"].flops_train
            table.setdefault(name, []).append((seconds, work))
        print(f"{name:7}", *(f"{s:6.2f} (FLOPs {w:.2f})" for s, w in table[name]))
    draw(table, given.figure)


def draw(table: Growth, path: str) -> None:
    """Seconds a sample over the base's, and dashed what its FLOPs grow by."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(FACTORS, FACTORS, color="0.7", linewidth=4, label="linear")
    for name, cells in table.items():
        seconds, flops = zip(*cells, strict=True)
        (line,) = axes.loglog(FACTORS, seconds, marker="o", label=name)
        axes.loglog(FACTORS, flops, linestyle="--", color=line.get_color())
    axes.minorticks_off()
    axes.set_xticks(FACTORS, [f"{factor}x" for factor in FACTORS])
    axes.set(xlabel="batch, tokens, width or data", ylabel="time a sample (dashed: FLOPs)")
    axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    turns.command(main)
