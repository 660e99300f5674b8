"""A Brownian bridge: the law of its path, in training and in sampling, and its steps."""

from pathlib import Path

import pytest
import torch

from baselines import bridge
from crossflow.draws import ItemDraws, StepDraws
from crossflow.errors import InputError
from crossflow.network import Size
from crossflow.problem import MapShape, Pair, Problem, Source
from crossflow.solver import Grid
from tests.match.tiny import by_method, call, places

MAP = MapShape(4, 32, 32)
PROBLEM = Problem(MAP, MAP, 4, "identity", None, 0.25)
METHOD = bridge.method(PROBLEM, Size(depth=2, width=32, heads=2, hidden=64), sigma=0.8)
ROWS = 8
GENERATOR = torch.Generator().manual_seed(0)
SOURCE, TARGET = (torch.randn(ROWS, *MAP.sizes, generator=GENERATOR) for _ in "ab")


class Told(torch.nn.Module):
    """Gives x1 with the source, its opposite without; keeps what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x, t, cond, null, mask):  # type: ignore[no-untyped-def]
        self.asked.append((x, t))
        return torch.where(null[:, None, None, None], -TARGET[: len(x)], TARGET[: len(x)])


def check_law(x: torch.Tensor, t: float) -> None:
    """Of 32,768 numbers: mean (1 - t) x0 + t x1, deviation 0.8 sqrt(t (1 - t))."""
    away = x - (1 - t) * SOURCE - t * TARGET
    assert away.mean().item() == pytest.approx(0, abs=0.01)
    assert away.std().item() == pytest.approx(0.8 * (t * (1 - t)) ** 0.5, rel=0.02, abs=1e-6)
    for known in (SOURCE, TARGET):  # and nothing of the ends is left in it
        assert (away * known).mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_the_path_in_training(t: float) -> None:
    pair = Pair(Source(SOURCE), TARGET, torch.arange(ROWS))
    ends = METHOD.train_ends(pair, StepDraws(0, 0, range(ROWS), ROWS))
    assert ends.cond is SOURCE
    assert ends.x1 is TARGET
    xt, ut = METHOD.path(ends.x0, ends.x1, torch.full((ROWS,), t))
    assert ut is TARGET
    check_law(xt, t)


@pytest.mark.parametrize(("grid", "steps"), [(Grid(5, "euler"), 5), (Grid(5, "heun"), 10)])
def test_sampling_has_the_law_of_the_path_at_every_step_and_ends_at_the_target(
    grid: Grid, steps: int
) -> None:
    net = Told()
    sampled = METHOD.sample(net, METHOD.sample_ends(Source(SOURCE), draws(ROWS)), grid)
    assert sampled.nfe == len(net.asked) == steps
    for i, (x, t) in enumerate(net.asked):
        assert t.tolist() == pytest.approx([i / steps] * ROWS)
        check_law(x, i / steps)
    torch.testing.assert_close(sampled.x, TARGET)


def draws(rows: int) -> ItemDraws:
    return ItemDraws(0, range(rows))


def test_a_sample_does_not_depend_on_the_other_rows() -> None:
    whole, part = Told(), Told()
    for net, rows in ((whole, ROWS), (part, 2)):
        METHOD.sample(net, METHOD.sample_ends(Source(SOURCE[:rows]), draws(rows)), Grid(3))
    assert torch.equal(whole.asked[4][0][:2], part.asked[4][0])
    assert not torch.equal(whole.asked[4][0][0], whole.asked[4][0][1])


def test_guidance_mixes_what_both_branches_expect() -> None:
    net = Told()
    ends = METHOD.sample_ends(Source(SOURCE), draws(ROWS))
    sampled = METHOD.sample(net, ends, Grid(2, "euler"), 1.5)
    assert sampled.nfe == len(net.asked) == 4
    torch.testing.assert_close(sampled.x, 1.5 * TARGET + 0.5 * TARGET)


def test_adaptive_steps_are_refused() -> None:
    ends = METHOD.sample_ends(Source(SOURCE), draws(ROWS))
    with pytest.raises(InputError, match=r"sampling\.solver=dopri5: a bridge needs fixed steps"):
        METHOD.sample(Told(), ends, Grid(4, "dopri5"))


def test_records_name_its_own_steps_and_adaptive_ones_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["task=sr_tabletop", "methods=bridge", "quick=true", *places(tmp_path)]
    assert call(*given, "sampling.solver=dopri5") == 2, "1 where an arm was trained"
    assert "sampling.solver=dopri5: a bridge needs fixed steps" in capsys.readouterr().err
    assert call(*given) == 0
    model = by_method(tmp_path / "out")["bridge"].model
    assert model is not None
    assert model.solver == "bridge"
