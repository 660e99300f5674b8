"""Source encoders: shapes, masks, their share of the parameters, and no dense layer over all."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from crossflow.arm import example_pair
from crossflow.encoder import Encoder, EncoderSize, encoder_size
from crossflow.errors import InputError
from crossflow.network import SIZES, DiT, parameters_of
from crossflow.problem import MapShape, Problem, Source, TokenShape

LATENT = MapShape(16, 8, 8)
TEXT = Problem(TokenShape(40, vocabulary=100), LATENT, 1, "variational", "contrastive")
FEATURES = replace(TEXT, source=TokenShape(77, width=768))
DEPTH = Problem(MapShape(3, 32, 24), MapShape(1, 32, 24), 4, "variational", "reconstruction")
CAPTION = Problem(LATENT, LATENT, 1, "variational", None)
PROBLEMS = {"text": TEXT, "features": FEATURES, "depth": DEPTH, "caption": CAPTION}
SMALL = EncoderSize(layers=2, width=32, heads=2)


def source(problem: Problem) -> Source:
    """Two rows; of tokens the first has seven."""
    torch.manual_seed(0)
    made = example_pair(problem, 2, "cpu").source
    if made.mask is not None:
        made.mask[0, 7:] = False
    return made


@pytest.mark.parametrize("name", PROBLEMS)
def test_mean_and_variance_have_the_targets_shape(name: str) -> None:
    problem = PROBLEMS[name]
    mean, logvar = Encoder(problem, SMALL)(source(problem))
    assert mean.shape == logvar.shape == (2, *problem.target.sizes)
    assert mean.dtype == logvar.dtype == torch.float32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_share_of_the_inference_parameters(name: str, size: str) -> None:
    problem = PROBLEMS[name]
    with torch.device("meta"):
        encoder = parameters_of(Encoder(problem, encoder_size(problem, SIZES[size])))
        backbone = parameters_of(DiT(problem, SIZES[size]))
    assert 0.03 < encoder / (encoder + backbone) <= 0.15


def test_no_encoder_fits_beside_a_huge_vocabulary() -> None:
    huge = replace(TEXT, source=TokenShape(40, vocabulary=50_000))
    with pytest.raises(InputError, match=r"model: .*15 %.*larger one"):
        encoder_size(huge, SIZES["T"])


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_layer_maps_all_tokens_to_all_of_the_latent(name: str) -> None:
    problem = PROBLEMS[name]
    encoder = Encoder(problem, SMALL)
    seen: list[tuple[str, tuple[int, ...]]] = []
    for label, layer in encoder.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(
                lambda _, inputs, output, label=label: seen.append((label, output.shape))
            )
    encoder(source(problem))
    positions = problem.grid[0] * problem.grid[1]
    length = problem.source.length if isinstance(problem.source, TokenShape) else positions
    assert seen
    # Every linear layer runs on rows of tokens or of patch positions, never on a flat batch row.
    assert {shape[1] for _, shape in seen} <= {positions, length}
    assert all(len(shape) == 3 for _, shape in seen)


@pytest.mark.parametrize("problem", [TEXT, FEATURES])
def test_padding_is_not_read(problem: Problem) -> None:
    encoder = Encoder(problem, SMALL)
    clean = source(problem)
    assert clean.mask is not None
    dirty = Source(clean.values.clone(), clean.mask)
    dirty.values[~clean.mask] = 5
    for one, other in zip(encoder(clean), encoder(dirty), strict=True):
        torch.testing.assert_close(one, other)
    shorter = Source(clean.values, clean.mask & (torch.arange(clean.mask.shape[1]) < 4))
    assert (encoder(shorter)[0] != encoder(clean)[0]).any()


def test_identity_is_the_source() -> None:
    values = source(CAPTION)
    mean, logvar = Encoder(replace(CAPTION, encoder="identity"), SMALL)(values)
    assert mean is values.values
    assert logvar is None
