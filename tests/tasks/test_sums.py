"""Strips and sums: their ends are the arm's own samples, and only codes of captions are blended."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.config import registry
from benchmarks.match.sampling import Sampler
from benchmarks.records import samples
from benchmarks.records.record import recorded_config
from benchmarks.tabletop import captions as words
from benchmarks.tabletop.arithmetic import SIGNS
from benchmarks.tabletop.scenes import HELD_OUT_PAIRS, indices, scene
from benchmarks.tasks import sums
from benchmarks.tasks.t2i_tabletop import SUMS, TASK
from benchmarks.tasks.task import Trained
from crossflow.arm import build_arm
from crossflow.problem import Source
from crossflow.solver import Grid
from tests.fixtures.tasks import configured

GUIDANCE = 1.5


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    fields = {"size": 32, "train_limit": 8, "validation_limit": 2, "limit": 5}
    return TASK(configured("t2i_tabletop", tmp_path_factory.mktemp("work"), **fields))


@pytest.fixture(scope="module")
def prepared(task):
    return task.prepare()


def trained(prepared, module="crossflow.crossflow", batch=3, keep=None, **options):
    file = importlib.import_module(module)
    arm = build_arm(file, prepared.problem, "T", seed=0, batch=8, options=options)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in arm.parameters():  # layers that begin at 0 would hide what they are given
            parameter.add_(0.02 * torch.randn_like(parameter))
    arm.eval()
    sampler = Sampler(Grid(2, "euler"), batch, 0, "cpu")
    weight = GUIDANCE if arm.method.guided else 1.0
    return Trained(arm, sampler, weight, None, keep, lambda *_: None)


def tokens(*texts):
    ids = np.array([words.encode(text) for text in texts])
    return ids, ids != 0


def close(one, other):
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1  # of 255


def test_a_strip_begins_at_the_arms_own_sample(prepared):
    asked = trained(prepared)
    own = asked.sampler.predict(asked.arm, prepared.test, prepared.decode, GUIDANCE).values
    ids, cells = sums.strips(prepared, asked)
    names = prepared.test.ids
    assert len(ids) == len(cells) == 2 * 8, "two pairs of five items"
    assert ids[0] == f"{names[0]}~{names[1]}@0.000" and ids[15] == f"{names[2]}~{names[3]}@1.000"
    assert close(cells[0], own[0]) and close(cells[8], own[2])
    assert not close(cells[7], cells[0]), "its other end has another caption"
    assert not close(cells[7], own[1]), "and the noise of the first"


@pytest.mark.parametrize("options", [{}, {"null_rate": 0}])
def test_what_is_taken_away_and_added_again_changes_nothing(prepared, options):
    texts = ("a red cube", "a sphere", "a sphere")
    given = [(*texts, "?")], *tokens(*texts)
    names, (start, minus, plus, result) = sums.sums(prepared, trained(prepared, **options), given)
    assert [name.partition(":")[0] for name in names] == [f"0 {role}" for role in samples.ROLES]
    assert close(start, result) and close(minus, plus) and not close(start, minus)


def test_the_worlds_sums_are_true_and_seen_in_training():
    for start, minus, plus, expected in SUMS:
        first, without, added, last = map(words.parse, (start, minus, plus, expected))
        assert all(s is not None for s in (first, without, added, last))
        whats = [said.groups[0].what for said in (first, without, added, last)]
        for said in (whats[0], whats[3]):
            assert (said.color, said.shape) not in HELD_OUT_PAIRS
        changed = {f for f in ("color", "shape") if getattr(whats[0], f) != getattr(whats[3], f)}
        assert len(changed) == 1
        (field,) = changed
        assert getattr(whats[1], field) == getattr(whats[0], field)
        assert getattr(whats[2], field) == getattr(whats[3], field)
    wanted = {text for four in SUMS for text in four}
    for index in indices("train", 20_000):
        wanted -= {caption.text for caption in words.captions(scene(int(index)))}
        if not wanted:
            break
    assert not wanted


def test_batches_change_nothing(prepared):
    given = SUMS, *tokens(*(text for four in SUMS for text in four[:3]))
    one, many = (sums.sums(prepared, trained(prepared, batch=b), given)[1] for b in (3, 32))
    assert len(one) == 4 * len(SUMS)
    assert all(close(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize("module", ["crossflow.crossflow", "baselines.flow_matching"])
def test_noise_holds_no_caption_to_blend(task, prepared, module):
    kept = {}
    asked = trained(prepared, module, 32, lambda kind, ids, cells: kept.update({kind: len(cells)}))
    task.draw_more(prepared, asked)
    both = {"interpolation": 2 * 8, "arithmetic": 4 * len(SUMS)}
    assert kept == (both if module == "crossflow.crossflow" else {})


@pytest.mark.parametrize("module", ["crossflow.crossflow", "baselines.flow_matching"])
def test_codes_or_tokens_are_summed_with_their_signs(prepared, module):
    asked = trained(prepared, module)

    def drawn(signs, *texts, standard=False):
        source = Source(*map(torch.from_numpy, tokens(*texts)))
        (picture,) = sums.drawn(prepared, asked, source, signs, standard)
        return picture

    start = drawn((1,), "a red cube and a blue cone")
    assert close(start, drawn((1, 1, -1), "a red cube and a blue cone", "a cube", "a cube"))
    longer = drawn((-1, 1, 1), "a cube", "a red cube and a blue cone", "a cube")
    assert close(start, longer), "tokens of any term are read"
    assert not close(start, drawn((1, -1), "a red cube and a blue cone", "a cube"))
    differ = not close(start, drawn((1,), "a red cube and a blue cone", standard=True))
    assert differ == (module == "crossflow.crossflow")


def test_a_standardised_sum_has_mean_0_and_deviation_1_over_all_its_numbers():
    rows = sums.standardised(3 + 2 * torch.randn(2, 4, 8, 8))
    torch.testing.assert_close(rows.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.flatten(1).std(1), torch.ones(2))


@pytest.mark.parametrize("module", ["flow_matching", "conditional_source"])
def test_sums_are_scored_or_the_reason_is_told(task, prepared, module):
    scored = task.draw_more(prepared, trained(prepared, f"baselines.{module}", 32))
    kinds = {"sum_score", *(f"sum_score/{kind}" for kind in SIGNS)}
    if module == "conditional_source":
        assert (scored.scores, scored.unavailable.keys()) == ({}, {"sum_score"})
    else:
        assert scored.scores.keys() == kinds, "one sum of each kind beside five items"
        assert [scored.scores[name].n for name in sorted(kinds)] == [3, 1, 1, 1]


def test_standardised_sums_stand_in_another_table(task):
    own, other = (
        configured("t2i_tabletop", task.config.work, limit=5, standard_sums=standard)
        for standard in (False, True)
    )
    assert TASK(own).score_fields() != TASK(other).score_fields()
    assert "standard_sums" not in recorded_config(own)["task"]
    assert recorded_config(other)["task"]["standard_sums"]


def test_the_inverted_flow_is_read_as_captions_of_the_scenes(task, prepared, tmp_path):
    options = {"encoding_loss": "reconstruction"}
    asked = replace(trained(prepared, keep=lambda *_: None, **options), folder=tmp_path)
    task.draw_more(prepared, asked)
    captioning = configured("caption_tabletop", task.config.work, limit=5)
    texts = registry.task_of(captioning)(captioning).test.read(tmp_path)
    rows = prepared.test.pairs(list(range(5))).target
    x0 = asked.arm.method.invert(asked.arm.net, rows, asked.sampler.grid).x
    read = asked.arm.method.decoder(x0).argmax(-1)
    assert texts == [words.decode(row) for row in read.tolist()]
    assert len({*texts}) > 1
