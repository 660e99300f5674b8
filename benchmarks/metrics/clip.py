"""CLIP score of pictures and captions by open_clip: OpenAI's ViT-B/32, the scale in the name.

`clip_vitb32_openai_cos` is the mean raw cosine, `clip_vitb32_openai_cos_clipped` the mean of
max(cos, 0), as CrossFlow's code computes it (which, though, reduces pictures bilinearly), and
`clipscore_vitb32_openai` CLIPScore (Hessel et al. 2021, Eq. 1): 2.5 max(cos, 0) of captions after
"A photo depicts ", so of other text features. 100 x is never applied.

Pictures go through open_clip's transform: short side to 224 by PIL's bicubic, centre crop; texts
are cut at 77 tokens and such texts are counted. All in float32. That a file holds OpenAI's weights
cannot be told from its shapes (LAION's have the same): its SHA-256 belongs into the score key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.distribution import preserved_random_state
from benchmarks.metrics.score import Scored, mean_score
from benchmarks.metrics.weights import find_file, read_tensors
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
FIELD = "weights.clip"
ARCHITECTURE = "ViT-B-32-quickgelu"  # by the name without -quickgelu open_clip only warns
COS = "clip_vitb32_openai_cos"
CLIPPED = "clip_vitb32_openai_cos_clipped"
CLIPSCORE = "clipscore_vitb32_openai"
NAMES = (COS, CLIPPED, CLIPSCORE)
PREFIX = "A photo depicts "  # CLIPScore's
CLIPSCORE_WEIGHT = 2.5
LONG = "captions cut at CLIP's 77 tokens"
HUB = "timm/vit_base_patch32_clip_224.openai"
FILE = "open_clip_model.safetensors"
# Sizes that OpenAI's own state dict carries as tensors.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def find_clip(weights: str | None, download: bool) -> tuple[Path | None, str]:
    """The file of weights and its SHA-256, or None and why there is none; see `find_file`.

    Without a path, `download` takes open_clip's copy of OpenAI's weights from the hub. InputError
    for a download that fails.
    """
    if weights is None and download:
        import open_clip

        try:
            tag = open_clip.get_pretrained_cfg(ARCHITECTURE, "openai")
            weights = open_clip.download_pretrained(tag)
        except Exception as error:  # the hub's client has a dozen of its own
            raise InputError(
                f"download=true: {HUB} cannot be fetched ({type(error).__name__}); give {FIELD}"
            ) from error
    return find_file(FIELD, weights, FILE, f"{FILE} of {HUB} (OpenAI's ViT-B/32)")


def clip_scores(
    ids: Sequence[str],
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    captions: Sequence[str],
    *,
    weights: str | None,
    download: bool = False,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
) -> Scored:
    """The three scores of `NAMES` of pictures (8-bit RGB) and their captions, with item columns.

    Each is the mean over items; all are unavailable, with the reason, without weights. Raises
    InputError for a file that does not hold the architecture's weights, ValueError for lists of
    different lengths. Random states are left as they were.
    """
    from open_clip import tokenizer

    if not len(ids) == len(pictures) == len(captions):
        raise ValueError(f"{len(ids)} ids, {len(pictures)} pictures, {len(captions)} captions")
    path, reason = find_clip(weights, download)
    if path is None:
        return Scored({}, unavailable=dict.fromkeys(NAMES, reason))
    with preserved_random_state(device):
        network = load_clip(path).to(device)
    plain, prefixed = (
        text_features(network, [start + caption for caption in captions], batch_size)
        for start in ("", PREFIX)
    )
    scored = scores_of(image_features(network, pictures, batch_size), plain, prefixed)
    scored.items = {"id": list(ids), **scored.items}
    # What CLIP reads of a text includes a token for its start and one for its end.
    lengths = [len(tokenizer._tokenizer.encode(caption)) + 2 for caption in captions]
    scored.counts[LONG] = sum(n > tokenizer.DEFAULT_CONTEXT_LENGTH for n in lengths)
    return scored


def scores_of(
    images: Float[Tensor, "n d"], plain: Float[Tensor, "n d"], prefixed: Float[Tensor, "n d"]
) -> Scored:
    """The scores of features: of pictures, of captions as they are and with CLIPScore's prefix."""
    import torch

    cosine, other = (
        torch.nn.functional.cosine_similarity(images.double(), texts.double(), dim=1)
        for texts in (plain, prefixed)
    )
    values = {
        COS: cosine.tolist(),
        CLIPPED: cosine.clamp_min(0).tolist(),
        CLIPSCORE: (CLIPSCORE_WEIGHT * other.clamp_min(0)).tolist(),
    }
    scored = Scored({name: mean_score(each, "higher") for name, each in values.items()})
    # the clipped cosine says nothing that the cosine beside it does not
    scored.items = {name: values[name] for name in (COS, CLIPSCORE)}
    return scored


def load_clip(path: Path) -> torch.nn.Module:
    """The network in float32 with the weights of a file, ready to score.

    A safetensors file or a state dict written by torch.save, in open_clip's names. Raises
    InputError for anything else: OpenAI's own archive is a program, and is not run. RuntimeError if
    a block runs another activation than QuickGELU, x sigmoid(1.702 x): OpenAI's weights were
    trained with it, and with GELU they still give plausible, wrong cosines.
    """
    import open_clip
    from open_clip.transformer import QuickGELU

    network: torch.nn.Module = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))
    activations = [module for name, module in network.named_modules() if name.endswith("mlp.gelu")]
    if not activations or not all(isinstance(module, QuickGELU) for module in activations):
        kinds = sorted({type(module).__name__ for module in activations})
        raise RuntimeError(f"OpenAI's CLIP needs QuickGELU in every block, found {kinds}")
    state = {k: v.float() for k, v in read_tensors(FIELD, path).items() if k not in NO_WEIGHTS}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # torch names each tensor that is missing, extra, of other shape
        first = " ".join(str(error).split())[:200]
        raise InputError(
            f"{FIELD}: {path} does not hold the weights of open_clip's {ARCHITECTURE}, which {HUB} "
            f"has ({first} ...)"
        ) from None
    return network.eval().requires_grad_(False)


def image_features(
    network: Any, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], batch_size: int = 64
) -> Float[Tensor, "n d"]:
    """CLIP's picture features on the CPU, not normalised; pictures are read batch by batch."""
    import torch
    from open_clip import image_transform
    from PIL import Image

    transform = image_transform(network.visual.image_size, is_train=False)
    device, features = next(network.parameters()).device, []
    for rows in torch.arange(len(pictures)).split(batch_size):
        batch = torch.stack([transform(Image.fromarray(pictures[int(row)])) for row in rows])
        with torch.inference_mode():
            features.append(network.encode_image(batch.to(device)).cpu())
    return torch.cat(features)


def text_features(network: Any, texts: Sequence[str], batch_size: int = 64) -> Float[Tensor, "n d"]:
    """CLIP's text features on the CPU, not normalised."""
    import torch
    from open_clip import tokenize

    tokens = tokenize(list(texts), network.context_length).to(next(network.parameters()).device)
    with torch.inference_mode():
        return torch.cat([network.encode_text(part).cpu() for part in tokens.split(batch_size)])
