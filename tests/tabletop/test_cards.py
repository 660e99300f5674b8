"""Shipped weights and their cards: what is missing, broken or altered is named."""

import pytest
import torch

from benchmarks.tabletop import cards
from crossflow.errors import InputError


@pytest.mark.parametrize("name", ["evaluator", "autoencoder"])
def test_what_ships_is_small_and_says_where_it_comes_from(name):
    assert (cards.WEIGHTS / f"{name}.safetensors").stat().st_size <= cards.LARGEST
    facts = {"version", "sha256", "command", "seed", "scenes", "minutes", "torch", "scores", "n"}
    assert facts <= cards.read_card(name).keys()
    assert cards.read_card(name)["n"] >= 500


def test_missing_and_altered_files_are_named(tmp_path):
    card, weights = (tmp_path / f"evaluator.{suffix}" for suffix in ("json", "safetensors"))

    def refused(match):
        with pytest.raises(InputError, match=match):
            cards.read_weights("evaluator", tmp_path)

    refused(r"evaluator\.json")
    card.write_bytes((cards.WEIGHTS / card.name).read_bytes())
    refused(r"evaluator\.safetensors: missing")
    blob = bytearray((cards.WEIGHTS / weights.name).read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    refused("not the weights of its card")


def test_written_weights_come_back_exactly(tmp_path):
    state = {"a": torch.randn(3, 4), "steps": torch.tensor(7)}
    cards.write_weights("evaluator", state, {"version": 1}, tmp_path)
    again = cards.read_weights("evaluator", tmp_path)
    assert again["a"].dtype == torch.float32
    assert torch.equal(again["a"], state["a"].half().float())
    assert again["steps"] == 7


@pytest.mark.parametrize("value", [torch.full((1,), 1e6), torch.zeros(3_000_000)])
def test_weights_that_cannot_ship_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="more than 5000000 bytes, or numbers beyond float16"):
        cards.write_weights("evaluator", {"a": value}, {}, tmp_path)
