"""The method `crossflow`: x0 is a draw from the source encoder, and the network sees no source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.draws import Draws, StepDraws
from crossflow.encoder import Encoder, MapTransformer, TokenDecoder, encoder_size
from crossflow.errors import InputError
from crossflow.files import sha256
from crossflow.method import Ends, Method
from crossflow.network import Backbone, Size
from crossflow.nulls import choose_nulls
from crossflow.official import load_official
from crossflow.problem import Map, MapShape, Moments, Pair, Problem, Source

NAME = "crossflow"
EncodingLoss = Literal["contrastive", "source_contrastive", "reconstruction", "none"]


@dataclass
class Options:
    """Of the source, of its charges (means per dimension or row), of gradient and guidance."""

    source_encoder: Literal["variational", "plain"] = "variational"  # plain: x0 is no draw
    readout: Literal["queries", "dense"] = "queries"  # of tokens: a query a patch, or a dense layer
    source_noise: float = 0.0  # deviation of noise added to an x0 that is no draw
    # Of x0 with the target, with another code of the source, or of the source decoded from x0.
    encoding_loss: EncodingLoss | None = None  # null: the problem's
    kl_form: Literal["official", "standard"] = "official"  # (0.3 mu)^6 in place of mu^2, or mu^2
    kl_weight: float | None = None  # null: 0.01 of a sum, so 0.01 times the numbers of the latent
    contrastive_weight: float = 1.0  # of either contrastive loss
    temperature: Literal["exp", "raw"] = "exp"  # its inverse: exp(scale), or scale as released
    reconstruction_weight: float = 1.0  # of the source, decoded from x0
    stop_gradient: bool = False  # the flow loss does not reach the encoder (official code: it does)
    # Of source and network: together, or the source first, by its charges alone, and then the
    # network alone (it stays as it is) or both. Each stage warms up and cools down by itself.
    training: Literal["joint", "separate", "two_stage"] = "joint"
    first_stage: float = 0.25  # share of the budget that this takes; ours, the paper says none
    # Away from null rows, or from the network's own early average, and then there are no null rows.
    guidance: Literal["indicator", "autoguidance"] = "indicator"
    # Of the network's training, when that is kept. Karras et al. take 1/16 of far longer runs; of
    # short ones that is little more than the warm-up.
    weak_share: float = 0.2
    null_rate: float | None = None  # null: the problem's; 0: neither null rows nor guidance
    indicator: Literal["token", "adaln"] | None = None  # null: as the model has it
    init: str | None = None  # the authors' weights, whose text encoder and network are trained on


def applies(problem: Problem) -> str | None:
    """None: a source of any kind can be encoded into the target's shape."""
    return None


class CrossFlow(Method):
    """x0 ~ q(z given source), charged with KL and an encoding loss (CrossFlow section 4).

    The loss is that of the released code, `FlowMatching`, where the paper prints another: KL with
    (0.3 mu)^6 in the place of mu^2, 0.01 on its sum over the latent beside a mean flow loss. The
    same charge holds for depth and captioning, of which no code is released. What differs:

    - The temperature is exp(scale), at most 100, as in CLIP; temperature=raw is as released.
    - Contrast is over the rows of all processes (theirs: of one GPU), and rows of one image are
      masked: in small data sets they meet.
    - null_rate is a share of every batch, two rows at least, in place of a chance of each row:
      arms see the same null rows, and guidance is trained by every batch. Their targets go round
      in random order among all processes.
    - Null rows are marked by a token, as in the paper; indicator=adaln is the released DiT's way.
    - The encoder reads tokens by one query per patch: with readout=dense, the released way, small
      models must make it narrow to hold it in 15 % of the parameters. It is pre-norm, without
      dropout, and its log-variance is held in [-14, 6]: early steps cannot overflow.
    - The image tower reads the latent, with the encoder's size; theirs is a SigLIP on pixels, with
      a third of the parameters of the flow network.
    - Raw times, the tanh form of GELU and adaLN for null rows come with the models `dit_*`.
    """

    training_only = ("tower", "contrastive", "decoder")
    options: type[Options] = Options
    kl_of_sum = 0.01  # weight of the KL summed over the latent, where kl_weight is not given

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem)
        chosen = self.chosen = self.options(**options)
        self.drawn = (problem.encoder, chosen.source_encoder) == ("variational", "variational")
        if chosen.source_noise < 0:
            raise InputError(f"source_noise={chosen.source_noise}: must not be negative")
        self.encoding_loss = chosen.encoding_loss or problem.charge
        if problem.encoder == "identity":
            self.encoding_loss = "none"
        if chosen.training != "joint" and problem.encoder != "identity":
            self._divide()
        else:
            self.ignored += ("first_stage",)
        self._guide()
        self._brought: list[Backbone] = []  # a network, until it is asked for
        width, target = encoder_size(problem, size), problem.target
        if chosen.init is None:
            own = encoder_size(problem, size, chosen.readout)
            moments = 2 if self.drawn else 1
            self.encoder: nn.Module = Encoder(problem, own, moments, chosen.readout)
        else:
            self._start(chosen.init)
        if self.encoding_loss == "contrastive":
            self.tower: nn.Module = MapTransformer(target, target.channels, problem.patch, width)
        elif self.encoding_loss == "source_contrastive":
            self.tower = Encoder(problem, width, 1)
        elif self.encoding_loss == "reconstruction" and isinstance(problem.source, MapShape):
            shape = target, problem.source.channels, problem.patch
            self.decoder: nn.Module = MapTransformer(*shape, width)
        elif self.encoding_loss == "reconstruction":
            self.decoder = TokenDecoder(problem, width)
        if hasattr(self, "tower"):
            self.contrastive = Contrastive(raw=chosen.temperature == "raw")
        self._weigh()

    def _start(self, init: str) -> None:
        """The authors' text encoder and network, in the places of the arm's own."""
        path, problem = Path(init).expanduser(), self.problem
        model = load_official(path).train().to(torch.get_default_device())
        shapes = [f"{each.source} to {each.target}" for each in (model.problem, problem)]
        if shapes[0] != shapes[1]:
            raise InputError(f"init={init}: its weights are from {shapes[0]}, not {shapes[1]}")
        if self.null_rate == 0:
            what = "null_rate=0" if self.weak_at > 1 else "guidance=autoguidance"
            raise InputError(f"{what}: the network of init={init} marks null rows")
        self.encoder, self.size, self._brought = model.text, model.size, [model.net]
        self.apart = {"init_sha256": sha256(path)}
        self.ignored += ("readout", "indicator")

    def network(self, size: Size) -> Backbone:
        """With `init` that of the weights, whatever the size."""
        return self._brought.pop() if self._brought else super().network(size)

    def _divide(self) -> None:
        """The budget into two stages, each with warm-up and cool-down of its own."""
        chosen = self.chosen
        if self.encoding_loss in (None, "none"):
            why = "without an encoding_loss the source learns nothing alone"
            raise InputError(f"training={chosen.training}: {why}")
        if not 0 < chosen.first_stage < 1:
            raise InputError(f"first_stage={chosen.first_stage}: must be above 0 and below 1")
        self.stages = (0.0, chosen.first_stage)
        if chosen.training == "separate":
            self.ignored += ("stop_gradient",)

    def _guide(self) -> None:
        """By null rows, by an early copy of the network, or not at all."""
        chosen, problem, start = self.chosen, self.problem, self.stages[-1]
        if chosen.guidance == "autoguidance" and problem.null_rate > 0:
            if not 0 < chosen.weak_share < 1:
                raise InputError(f"weak_share={chosen.weak_share}: must be above 0 and below 1")
            self.weak_at = start + chosen.weak_share * (1 - start)
            self.null_rate = 0.0
            self.ignored += ("null_rate", "indicator")
            return
        self.ignored += ("weak_share",)
        if problem.null_rate == 0:
            self.ignored += ("null_rate",)
        elif chosen.null_rate is not None:
            self.null_rate = replace(problem, null_rate=chosen.null_rate).null_rate
            self.guided = self.null_rate > 0
        if self.null_rate == 0:
            self.ignored += ("indicator", "guidance")
        else:
            self.indicator = chosen.indicator

    def _weigh(self) -> None:
        """Weights of the charges, and the options that have no effect."""
        chosen, problem = self.chosen, self.problem
        if self.drawn:
            if chosen.kl_weight is None:
                chosen.kl_weight = self.kl_of_sum * math.prod(problem.target.sizes)
            self.weights["kl"] = chosen.kl_weight
            self.settled = {"kl_weight": chosen.kl_weight}
            self.ignored += ("source_noise",)
        else:
            self.ignored += ("kl_form", "kl_weight")
        if hasattr(self, "tower"):
            self.weights["contrastive"] = chosen.contrastive_weight
        else:
            self.ignored += ("contrastive_weight", "temperature")
        if hasattr(self, "decoder"):
            self.weights["reconstruction"] = chosen.reconstruction_weight
        else:
            self.ignored += ("reconstruction_weight",)
        if isinstance(problem.source, MapShape):
            self.ignored += ("readout",)
        if problem.encoder == "identity":
            self.ignored += ("source_encoder", "encoding_loss", "stop_gradient", "training")
        elif chosen.stop_gradient and not self.weights:
            raise InputError("stop_gradient=True: nothing else would train the source encoder")

    def source_moments(self, source: Source) -> Moments:
        """As learned; of an x0 that is no draw, with the noise that is added."""
        mean, logvar = self.encoder(source)
        logvar = logvar if self.drawn else None  # the authors' encoder gives it always
        if self.chosen.source_noise > 0:
            logvar = torch.full_like(mean, 2 * math.log(self.chosen.source_noise))
        return mean, logvar

    def reader(self) -> nn.Module | None:
        """The decoder of encoding_loss=reconstruction."""
        return getattr(self, "decoder", None)

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Null rows keep their x0 and get another image's x1; charges see the original pair."""
        mean, logvar = self.source_moments(pair.source)
        z0 = self._draw(mean, logvar, draws)
        # A source that was trained alone stays as it is: without gradients nothing moves it.
        fixed = self.chosen.training == "separate" and draws.stage != 0
        charges = {} if fixed else self._charges(pair, z0, (mean, logvar), draws)
        if len(self.stages) > 1 and draws.stage == 0:
            return Ends(z0, None, charges=charges)
        x0 = z0.detach() if fixed or self.chosen.stop_gradient else z0
        ends = Ends(x0, pair.target, charges=charges)
        if nulls := choose_nulls(pair.groups, draws, self.null_rate):
            ends.x1 = nulls.retarget(pair.target, draws)
            ends.null = nulls.mask.to(z0.device)
        return ends

    def _charges(
        self, pair: Pair, z0: Map, moments: Moments, draws: StepDraws
    ) -> dict[str, Tensor]:
        (mean, logvar), charges = moments, dict[str, Tensor]()
        if self.drawn and logvar is not None:
            charges["kl"] = kl_per_dimension(mean, logvar, self.chosen.kl_form)
        if "contrastive" in self.weights:
            source = self.encoding_loss == "source_contrastive"
            code = self.tower(pair.source)[0] if source else self.tower(pair.target)
            rows = (draws.whole_batch(x) for x in (z0, code, pair.groups))
            charges["contrastive"] = self.contrastive(*rows)
        elif "reconstruction" in self.weights:
            charges["reconstruction"] = self._reconstruction(z0, pair.source)
        return charges

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """A draw from the encoder, as in training: the official code starts from it too."""
        x0 = self._draw(*self.source_moments(source), draws)
        return Ends(x0, None, null=self.no_nulls(x0))

    def _draw(self, mean: Tensor, logvar: Tensor | None, draws: Draws) -> Tensor:
        if logvar is None:
            return mean
        noise = draws.normal("source", mean.shape[1:]).to(mean.device)
        return mean + torch.exp(0.5 * logvar) * noise

    def _reconstruction(self, z0: Map, source: Source) -> Float[Tensor, ""]:
        """Square error of maps or features, cross-entropy of words: of a row its real tokens."""
        decoded = self.decoder(z0).float()
        if source.mask is None:
            return F.mse_loss(decoded, source.values)
        if source.values.is_floating_point():
            error = (decoded - source.values).square().mean(dim=-1)
        else:
            words = source.values.long()
            error = F.cross_entropy(decoded.transpose(1, 2), words, reduction="none")
        return ((error * source.mask).sum(1) / source.mask.sum(1)).mean()


method = CrossFlow


def kl_per_dimension(
    mean: Float[Tensor, "b ..."], logvar: Float[Tensor, "b ..."], form: str = "standard"
) -> Float[Tensor, ""]:
    """KL(N(mean, exp(logvar)) || N(0, 1)), nats per dimension, averaged over rows.

    In the official form (0.3 mean)^6 stands for mean^2, which is no KL: weaker up to a mean of 6.
    """
    size = (0.3 * mean) ** 6 if form == "official" else mean.square()
    return 0.5 * (size + logvar.exp() - 1 - logvar).mean()


class Contrastive(nn.Module):
    """Symmetric image-text cross-entropy over cosine similarities (CrossFlow Eq. 5 to 8).

    The temperature is learned from 0.07 as exp(-scale); its inverse is capped at 100 as in CLIP.
    raw: its inverse is scale itself, as in the released code, and starts at 2.66.
    Other rows that show the same image are neither positives nor negatives: they are masked.
    """

    def __init__(self, raw: bool = False) -> None:
        super().__init__()
        self.raw = raw
        self.scale = nn.Parameter(torch.tensor([1 / 0.07]).log())  # FSDP shards no scalar

    def forward(
        self, z0: Float[Tensor, "b ..."], image: Float[Tensor, "b ..."], groups: Int[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        z0, image = (F.normalize(x.flatten(1).float(), dim=1) for x in (z0, image))
        # A cosine times up to 100 needs more digits than bfloat16 has.
        # FLOPs are counted on the meta device, which has no autocast to switch off.
        device = "cpu" if z0.is_meta else z0.device.type
        with torch.autocast(device, enabled=False):
            scale = self.scale if self.raw else self.scale.exp().clamp(max=100)
            similarity = scale * z0 @ image.T
        same = groups[:, None] == groups[None, :]
        same.fill_diagonal_(False)
        similarity = similarity.masked_fill(same.to(z0.device), float("-inf"))
        labels = torch.arange(len(z0), device=z0.device)
        rows, columns = similarity, similarity.T
        return (F.cross_entropy(rows, labels) + F.cross_entropy(columns, labels)) / 2
