"""CLIP score of pictures and captions by open_clip: OpenAI's ViT-B/32, the scale in the name.

Raw cosines; max(cos, 0) as CrossFlow's code has it (which, though, reduces pictures bilinearly);
CLIPScore (Hessel et al. 2021, Eq. 1), 2.5 max(cos, 0) of captions after "A photo depicts ", so of
other text features. Pictures: short side to 224 by PIL's bicubic, centre crop. All in float32. A
file's shapes cannot tell OpenAI's weights (LAION's have the same): the score key has its SHA-256.
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
HUB = "timm/vit_base_patch32_clip_224.openai"
FILE = "open_clip_model.safetensors"
BATCH = 64


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
            reason = f"{HUB} cannot be fetched ({type(error).__name__}); give {FIELD}"
            raise InputError(f"download=true: {reason}") from error
    return find_file(FIELD, weights, FILE, f"{FILE} of {HUB} (OpenAI's ViT-B/32)")


def clip_scores(
    ids: Sequence[str],
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    captions: Sequence[str],
    *,
    weights: str | None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> Scored:
    """The means of `NAMES` of pictures (8-bit RGB) and their captions, cut at 77 tokens.

    InputError for a file of another network, ValueError for lists of different lengths.
    """
    import torch
    from open_clip import image_transform, tokenize
    from PIL import Image

    if not len(ids) == len(pictures) == len(captions):
        raise ValueError(f"{len(ids)} ids, {len(pictures)} pictures, {len(captions)} captions")
    path, reason = find_clip(weights, download)
    if path is None:
        return Scored({}, unavailable=dict.fromkeys(NAMES, reason))
    with preserved_random_state(device):
        network = load_clip(path).to(device)
    transform = image_transform(network.visual.image_size, is_train=False)
    parts = []
    with torch.inference_mode():
        for first in range(0, len(ids), BATCH):
            rows = range(len(ids))[first : first + BATCH]
            images = torch.stack([transform(Image.fromarray(pictures[row])) for row in rows])
            texts = ([start + captions[row] for row in rows] for start in ("", PREFIX))
            tokens = (tokenize(each, network.context_length) for each in texts)
            features = (network.encode_text(each.to(device)) for each in tokens)
            parts.append([network.encode_image(images.to(device)), *features])
    whole = [torch.cat(each).cpu() for each in zip(*parts, strict=True)]
    if not all(bool(each.isfinite().all()) for each in whole):
        raise InputError(f"{FIELD}: {path} gives numbers that are not finite; it is damaged")
    scored = scores_of(*whole)
    scored.items = {"id": list(ids), **scored.items}
    return scored


def scores_of(
    images: Float[Tensor, "n d"], plain: Float[Tensor, "n d"], prefixed: Float[Tensor, "n d"]
) -> Scored:
    """The scores of features: of pictures, of captions as they are and with CLIPScore's prefix."""
    from torch.nn.functional import cosine_similarity

    cosine, other = (cosine_similarity(images.double(), t.double()) for t in (plain, prefixed))
    score = 2.5 * other.clamp_min(0)
    columns = dict(zip(NAMES, (cosine, cosine.clamp_min(0), score), strict=True))
    scored = Scored({n: mean_score(each.tolist(), "higher") for n, each in columns.items()})
    # the clipped cosine says nothing that the cosine beside it does not
    scored.items = {COS: cosine.tolist(), CLIPSCORE: score.tolist()}
    return scored


def load_clip(path: Path) -> Any:
    """The network in float32 with the weights of a file, ready to score.

    A safetensors file or a state dict written by torch.save, in open_clip's names. InputError for
    anything else: OpenAI's own archive is a program, and is not run. RuntimeError if a block runs
    another activation than QuickGELU, x sigmoid(1.702 x): OpenAI's weights were trained with it,
    and with GELU they still give plausible, wrong cosines.
    """
    import open_clip
    from open_clip.transformer import QuickGELU

    network = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))
    activations = [module for name, module in network.named_modules() if name.endswith("mlp.gelu")]
    if not activations or not all(isinstance(module, QuickGELU) for module in activations):
        kinds = sorted({type(module).__name__ for module in activations})
        raise RuntimeError(f"OpenAI's CLIP needs QuickGELU in every block, found {kinds}")
    state = {name: tensor.float() for name, tensor in read_tensors(FIELD, path).items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # torch names each tensor that is missing, extra, of other shape
        first = " ".join(str(error).split())[:200]
        reason = f"the weights of open_clip's {ARCHITECTURE}, which {HUB} has ({first} ...)"
        raise InputError(f"{FIELD}: {path} does not hold {reason}") from None
    return network.eval().requires_grad_(False)
