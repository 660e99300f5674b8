"""A batch in chunks gives the loss and the gradients of the whole batch."""

import copy

import pytest
import torch
from torch import Tensor

from benchmarks.config import registry
from benchmarks.config.schema import Config
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.chunks import in_chunks
from crossflow.draws import StepDraws
from crossflow.network import SIZES, DiMRSize, Size
from crossflow.problem import MapShape, Problem, TokenShape

ROWS, MAP = 8, MapShape(2, 8, 8)
WORDS = TokenShape(6, vocabulary=9)
PROBLEMS = {
    "words": Problem(WORDS, MAP, 2, "variational", "contrastive", 0.25),
    "told": Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25, WORDS),
    "same": Problem(MAP, MAP, 2, "identity", None, 0.25),
}
MODULES = {name: registry.method_of(Config(), name) for name in registry.methods()}
CASES = [(n, p, "toy") for n, m in MODULES.items() for p in PROBLEMS if not m.applies(PROBLEMS[p])]
SMALL = {"toy": Size(4, 64, 2, 256), "toy_dimr": DiMRSize(9, 64, 4, 128, conv_depth=3)}


def built(method: str, problem: str, size: str) -> Arm:
    """An arm that has seen some training: all its numbers are random."""
    arm = build_arm(MODULES[method], PROBLEMS[problem], size, batch=ROWS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in arm.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return arm


def step(arm: Arm, rows: int = ROWS) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss, and gradients by name, of a step whose pairs and draws are always the same."""
    torch.manual_seed(0)
    pair, draws = example_pair(arm.method.problem, rows, "cpu"), StepDraws(0, 0, range(rows), rows)
    loss = arm(pair, draws).total
    if torch.is_grad_enabled():
        loss.backward()
    return loss.detach(), {n: p.grad for n, p in arm.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("method", "problem", "size"), [*CASES, ("flow_matching", "words", "toy_dimr")]
)
def test_chunks_are_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, method: str, problem: str, size: str
) -> None:
    monkeypatch.setitem(SIZES, size, SMALL[size])
    whole = built(method, problem, size)
    parts = copy.deepcopy(whole)
    parts.net.accumulate, seen = 4, []
    parts.net.blocks[0].register_forward_hook(lambda net, given, out: seen.append(len(out)))
    (loss, expected), (same, gradients) = step(whole), step(parts)
    assert seen == [2] * 4, "rows that the network sees at once"
    torch.testing.assert_close(same, loss, rtol=1e-6, atol=0)
    assert gradients.keys() == expected.keys()
    off = torch.cat([(gradients[name] - expected[name]).flatten() for name in expected]).norm()
    assert off < 1e-6 * torch.cat([each.flatten() for each in expected.values()]).norm()
    parts.net.recompute = True
    parts.zero_grad()
    _, again = step(parts)
    assert all(torch.equal(again[name], gradients[name]) for name in gradients)
    with torch.no_grad():  # six rows, of which no four equal chunks can be made
        torch.testing.assert_close(step(parts, 6)[0], step(whole, 6)[0], rtol=1e-6, atol=0)


def test_gradients_are_scaled_by_what_follows() -> None:
    weight, rows = torch.tensor(3.0, requires_grad=True), torch.arange(4.0, requires_grad=True)
    idle = torch.tensor(1.0, requires_grad=True)

    def loss(x: Tensor, nothing: None) -> Tensor:
        return (weight * x).mean()

    total = 2 * in_chunks(loss, (rows, None), [weight, idle], 2)
    total.backward()
    assert total.item() == 2 * 3 * 1.5
    assert (weight.grad.item(), idle.grad) == (2 * 1.5, None)
    assert rows.grad.tolist() == [2 * 3 / 4] * 4
