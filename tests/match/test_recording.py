"""What records say of x0: statistics of sources whose answers are known."""

import math
from types import SimpleNamespace

import pytest
import torch

from baselines import flow_matching, regression
from benchmarks.config.schema import Config, SamplingConfig, TaskConfig
from benchmarks.match.recording import fair_fields, source_statistics
from benchmarks.records.keys import differing
from benchmarks.records.record import recorded_config
from crossflow import crossflow
from crossflow.budget import Budget, Training
from crossflow.network import Size
from crossflow.problem import MapShape, Pair, Problem, Source

SIZE = Size(depth=4, width=64, heads=2, hidden=256)
MAP = MapShape(2, 8, 8)
DEPTH = Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25)
PLAIN = Problem(MAP, MAP, 2, "identity", None, 0.25)


class Rows:
    """A store of random pairs."""

    def __init__(self, problem, rows):
        self.rows, generator = rows, torch.Generator().manual_seed(1)
        self.target = torch.randn(rows, *problem.target.sizes, generator=generator)
        self.source = torch.randn(rows, *problem.source.sizes, generator=generator)

    def __len__(self):
        return self.rows

    def pairs(self, rows):
        return Pair(Source(self.source[rows]), self.target[rows], torch.tensor(rows))


def test_a_known_source():
    class Known(crossflow.CrossFlow):
        def source_moments(self, source):
            mean = source.values[:, :2]
            return mean, torch.full_like(mean, math.log(0.25))

    torch.manual_seed(0)
    result = source_statistics(Known(DEPTH, SIZE), Rows(DEPTH, 256))
    assert result.sigma_mean == pytest.approx(0.5)
    assert result.mu_std == pytest.approx(1, abs=0.02)
    assert result.kl_per_dimension == pytest.approx(0.5 * (1 + 0.25 - 1 + math.log(4)), abs=0.02)
    assert result.transport == pytest.approx(1 + 1 + 0.25, abs=0.03)  # independent ends


def test_noise_the_source_itself_and_none():
    rows = Rows(PLAIN, 256)
    noise = source_statistics(flow_matching.method(PLAIN, SIZE), rows)
    assert (noise.sigma_mean, noise.mu_std, noise.kl_per_dimension) == (1, 0, 0)
    assert noise.transport == pytest.approx(2, abs=0.05)
    identity = source_statistics(crossflow.method(PLAIN, SIZE), rows)
    assert (identity.sigma_mean, identity.kl_per_dimension) == (0, None)
    nothing = source_statistics(regression.method(PLAIN, SIZE), rows)
    assert (nothing.sigma_mean, nothing.mu_std, nothing.kl_per_dimension) == (0, 0, None)
    assert nothing.transport == pytest.approx(rows.target.square().mean().item(), rel=1e-5)
    assert source_statistics(regression.method(PLAIN, SIZE), Rows(PLAIN, 1)) is None


def test_a_younger_setting_is_another_race_and_another_run_where_it_is_on():
    """Records made before have no word of sampling in bf16 and of what saves memory: neither was
    there. What saves memory costs time: where that is no budget, the race is the same."""

    def fields(precision, recompute, kind, accumulate=1):
        training = Training(precision="bf16", recompute=recompute, accumulate=accumulate)
        sampling = SamplingConfig(precision=precision)
        parts = {"budget": Budget(**{kind: 1}), "training": training, "sampling": sampling}
        config = Config(TaskConfig(name="depth_tabletop"), **parts)
        problem, train = SimpleNamespace(null_rate=0.1), SimpleNamespace(digest="")
        ready = SimpleNamespace(frozen={}, problem=problem, train=train)
        match = SimpleNamespace(config=config, prepared=ready, score={}, device="cpu", tried={})
        return fair_fields(match), recorded_config(config)

    for kind in ("device_seconds", "steps"):
        (old, plain), (new, named) = fields("fp32", False, kind), fields("bf16", True, kind, 4)
        saved = {"training.accumulate: absent / 4", "training.recompute: absent / True"}
        assert {*differing(plain, named)} == {"sampling.precision: absent / bf16", *saved}
        slower = {f"rules.{line}" for line in saved} if kind == "device_seconds" else set()
        assert {*differing(old, new)} == {"rules.sampling_precision: absent / bf16", *slower}
