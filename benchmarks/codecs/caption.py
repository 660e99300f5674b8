"""The caption codec: a text variational encoder and a non-autoregressive token decoder.

In CrossFlow's captioning "a separate text decoder" maps a text latent back to tokens (paper section
5.3). The authors released none, so this is our own reading: one learned query per latent position
reads the caption by cross-attention, one per token position reads the latent. The codec is trained
once per data set, shared by all arms and charged to none; its cost and token accuracy stand in
every record. The flow's target is the mean, standardised per channel.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.codecs.text import UNKNOWN, WORDS, Vocabulary
from benchmarks.codecs.weights import finite
from benchmarks.data.files import SEAL, check_seal, seal
from benchmarks.data.splits import Report, digest
from crossflow.files import published, sha256, whole
from crossflow.problem import MapShape

# A flow leaves errors in a latent that are no smaller than the latent's own spread. Trained with
# noise of that size, and with a KL that keeps the latent from outgrowing it, the decoder still
# reads 79 % of captions whole when noise of 1.5 deviations is added; with 0.1 and 1e-3 it was 25 %.
KL_WEIGHT = 1e-2  # a mean per dimension
LATENT_NOISE = 1.0
BATCH, SEED = 64, 0
# Codecs of real data sets: so many passes over the training captions, within limits.
HIDDEN, PASSES, LEAST_STEPS, MOST_STEPS = 128, 20, 2000, 30_000


@dataclass(frozen=True)
class CodecShape:
    """Sizes of a codec: `length` tokens of `vocabulary` words <-> (channels, height, width)."""

    vocabulary: int
    length: int
    channels: int
    height: int
    width: int
    hidden: int = 96
    heads: int = 4


def _position_code(count: int, width: int) -> Tensor:
    """Sine and cosine codes (count, width) of the places (i + 0.5) / count.

    Tokens and latent positions share it: aligning free parameters took most of the training.
    """
    place = (torch.arange(count) + 0.5) / count
    frequency = torch.exp(torch.linspace(0, math.log(64.0), width // 2))
    angle = math.pi * place[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _attention(width: int, heads: int) -> nn.MultiheadAttention:
    """Its keys start as its queries: equal codes attend to each other."""
    attention = nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        query = attention.in_proj_weight[:width]
        nn.init.orthogonal_(query, gain=1.5)
        attention.in_proj_weight[width : 2 * width] = query
    return attention


class _Block(nn.Module):
    """Pre-norm transformer block: self-attention, cross-attention if `cross`, MLP."""

    def __init__(self, width: int, heads: int, *, cross: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), _attention(width, heads)
        if cross:
            self.cross, self.norm_cross = _attention(width, heads), nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        layers = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        self.mlp = nn.Sequential(*layers)

    def forward(self, x: Tensor, memory: Any = None, padding: Any = None) -> Tensor:
        """x: (b, n, width). `padding` is True at positions of x to ignore."""
        h = self.norm(x)
        x = x + self.attention(h, h, h, key_padding_mask=padding, need_weights=False)[0]
        if memory is not None:
            x = x + self.cross(self.norm_cross(x), memory, memory, need_weights=False)[0]
        return x + self.mlp(self.norm_mlp(x))


class CaptionCodec(nn.Module):
    """Captions (b, length) of word ids, 0 for padding <-> text latents (b, c, h, w)."""

    def __init__(self, shape: CodecShape) -> None:
        super().__init__()
        self.shape = shape
        w, positions = shape.hidden, shape.height * shape.width
        self.embed = nn.Embedding(shape.vocabulary, w)
        self.token_position = nn.Parameter(_position_code(shape.length, w))
        self.read = _Block(w, shape.heads, cross=False)
        self.latent_query = nn.Parameter(_position_code(positions, w))
        self.gather = _attention(w, shape.heads)
        self.latent_mlp = nn.Sequential(nn.LayerNorm(w), nn.Linear(w, 2 * w), nn.GELU())
        self.moments = nn.Linear(2 * w, 2 * shape.channels)
        self.latent_in = nn.Linear(shape.channels, w)
        self.latent_position = nn.Parameter(_position_code(positions, w))
        self.token_query = nn.Parameter(_position_code(shape.length, w))
        self.write = nn.ModuleList([_Block(w, shape.heads, cross=True) for _ in range(2)])
        self.logits = nn.Sequential(nn.LayerNorm(w), nn.Linear(w, shape.vocabulary))

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (b, c, h, w) of the text latent of captions (b, length)."""
        s = self.shape
        padding = ids == 0
        padding[:, 0] = False  # an all-padding row would make attention divide zero by zero
        tokens = self.read(self.embed(ids) + self.token_position, padding=padding)
        query = self.latent_query.expand(len(ids), -1, -1)
        read = self.gather(query, tokens, tokens, key_padding_mask=padding, need_weights=False)[0]
        moments = self.moments(self.latent_mlp(query + read))  # (b, positions, 2 c)
        grid = moments.transpose(1, 2).reshape(len(ids), 2 * s.channels, s.height, s.width)
        mean, log_variance = grid.chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 4)

    def decode(self, latent: Tensor) -> Tensor:
        """Logits (b, length, vocabulary) of text latents (b, c, h, w), all tokens at once."""
        memory = self.latent_in(latent.flatten(2).transpose(1, 2)) + self.latent_position
        x = self.token_query.expand(len(latent), -1, -1)
        for block in self.write:
            x = block(x, memory)
        return self.logits(x)

    @torch.no_grad()
    def means(self, ids: np.ndarray) -> np.ndarray:
        """Text latents (b, c, h, w), float16, of captions (b, length): the targets of a flow."""
        rows = torch.from_numpy(ids.astype(np.int64)).to(self.embed.weight.device)
        mean = self.encode(rows)[0].half()
        return finite("the caption codec", mean).cpu().numpy()

    @torch.no_grad()
    def words(self, latent: Tensor) -> np.ndarray:
        """Word ids (b, length): the most likely token of each position; ids are what they are."""
        if not latent.is_floating_point():
            return latent.cpu().numpy()
        latent = latent.to(self.embed.weight.device)
        return finite("the caption codec", self.decode(latent), latent).argmax(-1).cpu().numpy()


def train_codec(
    shape: CodecShape,
    captions: np.ndarray,
    held_out: np.ndarray,
    steps: int,
    device: str = "cpu",
    report: Report = lambda *_: None,
) -> tuple[CaptionCodec, dict[str, Any]]:
    """A codec of captions (n, length), what it took, and its accuracy on `held_out`."""
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        codec = CaptionCodec(shape).to(device)
    draws = torch.Generator().manual_seed(SEED + 1)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=2e-3, weight_decay=0.01)
    data = torch.from_numpy(captions.astype("int64"))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * _one_cycle(step / steps)
        ids = data[torch.randint(len(data), (BATCH,), generator=draws)].to(device)
        mean, log_variance = codec.encode(ids)
        noise = torch.randn(mean.shape, generator=draws).to(device)
        # From no noise up: with all of it from the start the decoder long finds nothing to read.
        spread = (0.5 * log_variance).exp() + LATENT_NOISE * min(1.0, 2 * step / steps)
        logits = codec.decode(mean + spread * noise)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten()) + KL_WEIGHT * kl
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        report("caption codec: training", step + 1, steps)
    codec.eval().requires_grad_(False)
    cost = {"steps": steps, "samples": steps * BATCH, "seconds": time.perf_counter() - start}
    cost["parameters"] = sum(p.numel() for p in codec.parameters())
    return codec, {**cost, "token_accuracy": accuracy(codec, held_out)}


def _one_cycle(progress: float) -> float:
    """Warm-up over 5 %, then a cosine to 2 % of the peak."""
    if progress < 0.05:
        return progress / 0.05 + 1e-3
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def accuracy(codec: CaptionCodec, captions: np.ndarray) -> float:
    """Share of real tokens that survive encode (mean) and decode."""
    ids = torch.from_numpy(captions.astype(np.int64)).to(codec.embed.weight.device)
    with torch.no_grad():
        read = np.concatenate([codec.words(codec.encode(part)[0]) for part in ids.split(256)])
    return float((read == captions)[captions != 0].mean())


def save_codec(codec: CaptionCodec, path: Path) -> None:
    """Without metadata: their order in a file is random."""
    save_file(codec.state_dict(), path)


def load_codec(path: Path, shape: CodecShape, device: str = "cpu") -> CaptionCodec:
    codec = CaptionCodec(shape)
    codec.load_state_dict(load_file(path))
    return codec.to(device).eval().requires_grad_(False)


def kept_codec(
    folder: Path,
    shape: CodecShape,
    data: Mapping[str, Any],
    train: Callable[[], np.ndarray],
    held_out: np.ndarray,
    *,
    steps: int,
    device: str,
    report: Report,
) -> tuple[CaptionCodec, dict[str, Any], float]:
    """A codec, trained where `folder` has none of these settings; its facts; seconds it took.

    data: what train() and held_out depend on. All seeds of a match share a codec.
    """
    settings = {**asdict(shape), "steps": steps, "batch": BATCH, "seed": SEED, **data}
    settings |= {"kl_weight": KL_WEIGHT, "latent_noise": LATENT_NOISE}
    where = folder / f"captions-{digest(json.dumps(settings, sort_keys=True))}"
    weights, card = where / "codec.safetensors", where / "card.json"
    whole(where, partial(check_seal, where))
    if not where.is_dir():
        codec, cost = train_codec(shape, train(), held_out, steps, device, report)
        with published(where) as new:
            save_codec(codec, new / weights.name)
            (new / card.name).write_text(json.dumps(cost))
            (new / SEAL).write_text(seal(new))
    facts = json.loads(card.read_text()) | {"sha256": sha256(weights)}
    seconds = facts.pop("seconds")
    return load_codec(weights, shape, device), facts, seconds


def codec_steps(captions: int) -> int:
    """Training steps for so many captions of a real data set."""
    return min(MOST_STEPS, max(LEAST_STEPS, PASSES * captions // BATCH))


def dataset_codec(
    folder: Path,
    shape: MapShape,
    words: Vocabulary,
    train: Sequence[str],
    held_out: Sequence[str],
    device: str,
    report: Report,
) -> tuple[CaptionCodec, dict[str, Any], float]:
    """`kept_codec` of real captions; unknown_tokens: share of words held out that have no id."""
    unseen = words.encode(held_out)
    texts = {"train": digest("\n".join(train)), "held_out": digest("\n".join(held_out))}
    codec, facts, seconds = kept_codec(
        folder,
        CodecShape(len(words), WORDS, shape.channels, shape.height, shape.width, hidden=HIDDEN),
        {**texts, "words": words.facts(), "device": device.partition(":")[0]},
        lambda: words.encode(train),
        unseen,
        steps=codec_steps(len(train)),
        device=device,
        report=report,
    )
    unknown = float((unseen == UNKNOWN).sum() / (unseen != 0).sum())
    return codec, {**facts, "unknown_tokens": unknown, "measured_on": len(held_out)}, seconds
