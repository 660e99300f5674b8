"""Shipped weights and their cards: what is missing, broken or altered is named."""

import json
import shutil

import pytest
import torch

from benchmarks.tabletop import cards
from crossflow.errors import InputError


def test_altered_weights_are_refused(tmp_path):
    for suffix in (".json", ".safetensors"):
        shutil.copy(cards.WEIGHTS / f"evaluator{suffix}", tmp_path)
    blob = bytearray((tmp_path / "evaluator.safetensors").read_bytes())
    blob[-1] ^= 1
    (tmp_path / "evaluator.safetensors").write_bytes(blob)
    with pytest.raises(InputError, match="sha256"):
        cards.read_weights("evaluator", tmp_path)


def test_missing_or_broken_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"evaluator\.json"):
        cards.read_weights("evaluator", tmp_path)
    (tmp_path / "evaluator.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"evaluator\.json: no card"):
        cards.read_card("evaluator", tmp_path)
    (tmp_path / "evaluator.json").write_text(json.dumps({"sha256": "0"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"evaluator\.safetensors: missing"):
        cards.read_weights("evaluator", tmp_path)


def test_written_weights_come_back_exactly(tmp_path):
    state = {"a": torch.randn(3, 4), "steps": torch.tensor(7)}
    cards.write_weights("evaluator", state, {"version": 1}, tmp_path)
    again = cards.read_weights("evaluator", tmp_path)
    assert again["a"].dtype == torch.float32
    assert torch.equal(again["a"], state["a"].half().float())
    assert again["steps"] == 7


@pytest.mark.parametrize("value", [torch.full((1,), 1e6), torch.zeros(3_000_000)])
def test_weights_that_cannot_ship_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="a"):
        cards.write_weights("evaluator", {"a": value}, {}, tmp_path)
