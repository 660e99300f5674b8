"""Captions word by word, the standard captioner: a transformer encoder and decoder, and no flow.

An encoder reads the picture's patches; a causal decoder reads them by cross-attention and gives
each word from those before it. Teacher forcing, cross-entropy, greedy decoding: Vinyals et al. 2015
(arXiv:1411.4555), with transformers for CNN and LSTM as in Cornia et al. 2020 (arXiv:1912.08226).

What differs from both: the picture is what the flows see, no features of a pre-trained network; no
beams; no second training on CIDEr; the padding of captions is learned, as by the caption codec.
From Cornia et al.: no memory vectors, and the decoder reads the encoder's last layer alone.

Cost: an evaluation is one pass of both over the whole caption. The matrix that embeds words and
gives their logits is charged to this arm; the caption codec, which only flows need, to none. A
sample takes one such pass a word and keeps nothing between them: its NFE is the caption's length,
whatever `sampling.steps` and `sampling.solver` say.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.chunks import in_chunks
from crossflow.draws import Draws, StepDraws
from crossflow.layers import initialise, patchify, position_table, waves
from crossflow.method import Ends, Loss, Method
from crossflow.network import Backbone, Size
from crossflow.problem import Map, MapShape, Pair, Problem, Row, Source, Words
from crossflow.solver import Grid, Sampled

NAME = "autoregressive"


def applies(problem: Problem) -> str | None:
    """A reason where the target is no caption of a picture."""
    if problem.words is not None and isinstance(problem.source, MapShape):
        return None
    return "it writes words about a picture, and here no words are asked for"


class Captioner(Backbone):
    """Logits of each word of a caption, from the picture and the words before it."""

    positions: Float[Tensor, "n d"]
    places: Float[Tensor, "length d"]

    def __init__(self, problem: Problem, size: Size) -> None:
        super().__init__(problem, "none", 0)
        words, source, width = problem.words, problem.source, size.width
        assert words is not None and words.vocabulary is not None and isinstance(source, MapShape)
        self.patch, self.depth, self.start = problem.patch, size.depth, words.vocabulary
        self.patches = nn.Linear(source.channels * problem.patch**2, width)
        self.embed = nn.Embedding(words.vocabulary + 1, width)  # the last: before the first word
        layers = nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
        self.blocks = nn.ModuleList(
            layer(width, size.heads, size.hidden, 0.0, F.gelu, batch_first=True, norm_first=True)
            for layer in layers
            for _ in range(size.depth)
        )
        self.norm_picture, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        initialise(self)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.register_buffer("positions", position_table(problem.grid, width), persistent=False)
        places = waves(torch.arange(float(words.length)), width)
        self.register_buffer("places", places, persistent=False)

    def forward(
        self, x: Words, t: Row | None, cond: Map, null: None = None, cond_mask: None = None
    ) -> Float[Tensor, "b length vocabulary"]:
        """x: words, of which each sees those before it; cond: the picture. t has no meaning."""
        picture = self.patches(patchify(cond, self.patch)) + self.positions
        for block in self.blocks[: self.depth]:
            picture = self.through(block, picture)
        picture = self.norm_picture(picture)
        before = F.pad(x[:, :-1], (1, 0), value=self.start)
        y = self.embed(before) * self.embed.embedding_dim**0.5 + self.places
        later = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool, device=y.device).triu(1)
        for block in self.blocks[self.depth :]:
            y = self.through(block, y, picture, later)
        return F.linear(self.norm(y), self.embed.weight[:-1])


class Autoregressive(Method):
    """x0 is a caption not yet written, the condition is the picture. No nulls, no guidance."""

    guided = False
    ignored = ("path", "times")
    interpolant = time_law = "own"

    def __init__(self, problem: Problem, size: Size) -> None:
        super().__init__(problem)

    def network(self, size: Size) -> Captioner:
        """Encoder and decoder have the size's depth each."""
        return Captioner(self.problem, size)

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """Words that are yet to be chosen, and the picture."""
        return Ends(self._blank(source.values), None, source.values)

    def _blank(self, rows: Tensor) -> Words:
        assert self.problem.words is not None
        return torch.zeros(len(rows), self.problem.words.length).to(rows.device, torch.long)

    def loss(self, net: Backbone, pair: Pair, draws: StepDraws) -> Loss:
        """Cross-entropy, the mean over all words."""

        def entropy(words: Tensor, picture: Tensor) -> Tensor:
            logits = net(words, None, picture).float()
            return F.cross_entropy(logits.flatten(0, 1), words.flatten())

        rows = pair.words, pair.source.values
        total = in_chunks(entropy, rows, net.parameters(), net.accumulate)
        return Loss(total, {"words": total.detach()})

    def solver_name(self, grid: Grid) -> str:
        """No solver."""
        return "greedy"

    @torch.no_grad()
    def sample(self, net: nn.Module, ends: Ends, grid: Grid, guidance: float = 1.0) -> Sampled:
        """The likeliest word at each place in turn, whatever the grid. ValueError for guidance."""
        if guidance != 1:
            raise ValueError(f"{NAME} has no null branch: guidance must be 1, not {guidance}")
        words = self._blank(ends.x0)
        for place in range(words.shape[1]):
            words[:, place] = net(words, None, ends.cond)[:, place].argmax(-1)
        return Sampled(words, words.shape[1])


method = Autoregressive
