"""Checkpoints of CrossFlow's authors (text to image): text encoder and flow network, loaded.

`load_official` reads what `qihao067/CrossFlow` saves. All sizes are those of the tensors; only the
numbers of heads cannot be read from them and come from the checkpoint's name or the caller.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from jaxtyping import Shaped
from safetensors.torch import load_file
from torch import Tensor, nn

from crossflow.dimr import DiMR, StageSize
from crossflow.errors import InputError, right_names
from crossflow.network import Backbone, DiMRSize, DiT, OfficialSize, Size
from crossflow.problem import Map, MapShape, Moments, Problem, Row, Source, Tokens, TokenShape
from crossflow.text_encoder import TextEncoder, TextSize

# Heads of the flow network's attention and of the text encoder's, by released checkpoint; and what
# tells it from others: width of the text features, side of the latent.
NAMES = {
    "t2i_256px_clip_dimr": (16, 8, 768, 32),
    "t2i_256px_t5_dimr": (16, 8, 4096, 32),
    "t2i_512px_clip_dimr": (16, 8, 768, 64),
    "t2i_512px_t5_dimr": (16, 8, 4096, 64),
    "t2i_512px_t5_dit": (20, 8, 4096, 64),
}
LATENT_SCALE = 0.2301  # of all released configurations: x1 is the autoencoder's mean times this
TOWER = ("open_clip.", "open_clip_output.")  # image tower of the contrastive charge: training only


class OfficialModel(nn.Module):
    """A released model: `text` and `net` are modules of this library, with the authors' weights.

    problem: what it solves, from text features as wide as the text model's. size: of the network.
    """

    def __init__(self, problem: Problem, text: TextEncoder, net: Backbone, size: Size) -> None:
        super().__init__()
        self.problem, self.text, self.net, self.size = problem, text, net, size

    def encode_text(self, tokens: Tokens, mask: Shaped[Tensor, "b n"]) -> Moments:
        """Mean and log-variance (b, c, h, w) of z0; `mask` is 1 or True at real tokens.

        tokens: CLIP ViT-L/14's last hidden state, or T5-XXL's times 10, padded to 77. InputError
        for a text without a token.
        """
        keep = mask.bool()
        if not keep.any(dim=1).all():
            raise InputError("a text has no token: its mask is all zero")
        return self.text(Source(tokens, keep))

    def velocity(self, x: Map, t: Row, null: Shaped[Tensor, " b"]) -> Map:
        """At time t from 0 (source) to 1 (image) and xt; null: 1 or True at rows without source."""
        return self.net(x, t, None, null.bool())


def load_official(
    path_or_state_dict: Path | str | Mapping[str, Any],
    name: str | None = None,
    *,
    num_heads: int | None = None,
    text_heads: int | None = None,
) -> OfficialModel:
    """The model of an official checkpoint, in float32 and evaluation mode.

    path_or_state_dict: a file of torch.save or safetensors, in which tensors stay until they are
    used; or its tensors by name, which are copied. Those of the contrastive image tower are left
    out. name: one of NAMES, which gives the heads unless the arguments do; a file called so needs
    neither. InputError, one line, for what is no such checkpoint.
    """
    given = path_or_state_dict
    where = "state dict" if isinstance(given, Mapping) else str(given)
    if (name, num_heads, text_heads) == (None, None, None) and Path(where).stem in NAMES:
        name = Path(where).stem
    if name is not None and name not in NAMES:
        raise InputError(f"official checkpoint {name!r}: unknown. {right_names(name, NAMES)}")
    tensors = given if isinstance(given, Mapping) else _read(Path(given))
    named = (None, None) if name is None else NAMES[name][:2]
    heads = named[0] if num_heads is None else num_heads
    text = named[1] if text_heads is None else text_heads
    if heads is None or text is None:
        how = "give num_heads and text_heads, or a name, or call the file so"
        raise InputError(f"{where}: {how}: {', '.join(NAMES)}")
    checkpoint = _Checkpoint(where, tensors, heads, text, copied=tensors is given)
    design = "dit" if "pos_embed" in tensors else "dimr"
    if name is not None and not name.endswith(design):
        raise InputError(f"{where}: its tensors are those of a {design}, not of {name}")
    model = checkpoint.model(design)
    shapes = astuple(model.problem.source)[-1], model.problem.target.height
    alike = [n for n, each in NAMES.items() if n.endswith(design) and each[2:] == shapes]
    if name is not None and alike and name not in alike:
        raise InputError(f"{where}: its sizes are those of {alike[0]}, not of {name}")
    return model


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = is_zipfile(path)  # older files are none
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # an unpickler fails in any way on what is no pickle
        why = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: not tensors by torch.save or safetensors ({why})") from error
    if not isinstance(tensors, Mapping):
        raise InputError(f"{path}: holds a {type(tensors).__name__}, not tensors by name")
    return tensors


# Parts of names, official and of this library, replaced in this order.
_NAMES = """
context_encoder. text.
linear. head.
adaptor.fc1. head.0.    adaptor.ln_fc1. head.1.    adaptor.fc2. head.3.    adaptor.ln_fc2. head.4.
adaptor.conv1. head.7.    adaptor.ln_conv1. head.8.    adaptor.conv2. head.10.
adaptor.ln_conv2. head.11.    adaptor.conv3. head.13.
compressor.fc1. compressor.0.    compressor.ln_fc1. compressor.1.    compressor.fc2. compressor.3.
.W_Q. .query.    .W_K. .key_value.    .W_O. .out.    .feed_forward.ffn_1. .up.
.feed_forward.ffn_2. .down.    .norm1.g .norm1.weight    .norm2.g .norm2.weight
.norm1.b .norm1.bias    .norm2.b .norm2.bias
.attn. .attention.    .attention.proj. .attention.out.
x_embedder.proj. patches.    t_embedder.mlp. time.    y_embedder.embedding_table.weight null_vectors
pos_embed positions    final_layer.head. velocity.    final_layer.adaLN_modulation.1. modulation.
adaLN_modulation.1. modulation.    .mlp.fc1. .mlp.up.    .mlp.fc2. .mlp.down.
.input_layer.1. .patches.    .input_layer.3.position_embeddings.weight .positions
.upsample.0. .upsample.norm_in.    .upsample.1.kernel. .upsample.linear.
.upsample.2. .upsample.norm_out.    .output_layer.0. .norm.    .output_layer.2. .velocity.
.skip_denses. .skips.    .block1.query. .attention.query.
.block1.key_value. .attention.key_value.
.block1.dense. .attention.out.    .block1.1. .conv.    .block1.norm. .norm.
.block2.w0. .mlp.gate.    .block2.w1. .mlp.up.    .block2.w2. .mlp.down.    .block2.norm. .mlp.norm.
.weight.param .scale.param    .weight.nodecay .scale.nodecay    .bias.param .shift.param
.bias.nodecay .shift.nodecay    .param0 .start    .param1 .end
.nodecay_weight .slope    .nodecay_bias .shift    .tensor_false .indicator
""".split()
_FUSED = re.compile(r"(.*)\.(?:qkv|query_key_value)\.(weight|bias)")


class _Checkpoint:
    """Tensors of a state dict, without the image tower, and what they say of the model."""

    def __init__(
        self, where: str, given: Mapping[str, Any], heads: int, text_heads: int, copied: bool
    ) -> None:
        self.where, self.heads, self.text_heads = where, heads, text_heads
        self.tensors: dict[str, Tensor] = {}
        for key, value in given.items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                raise InputError(f"{where}: {key!r} is no tensor; a plain state dict is needed")
            if key.startswith(TOWER):
                continue
            dense = value.layout == torch.strided and not value.is_meta
            if not (dense and value.is_floating_point() and value.dim() and value.numel()):
                shape = tuple(value.shape)
                raise InputError(f"{where}: {key}, {value.dtype} of {shape}, has no weights")
            self.tensors[key] = value.detach().to(torch.float32, copy=copied)

    def shape(self, name: str, axes: int) -> torch.Size:
        """Of a tensor that every checkpoint of the design has."""
        if name not in self.tensors or self.tensors[name].dim() != axes:
            raise InputError(f"{self.where}: no checkpoint of CrossFlow, it has no {axes}-d {name}")
        return self.tensors[name].shape

    def count(self, prefix: str) -> int:
        """Members of a list of modules."""
        return len({k[len(prefix) :].split(".")[0] for k in self.tensors if k.startswith(prefix)})

    def side(self, positions: int, patch: int) -> int:
        """Of the square map that so many patches make."""
        if (side := math.isqrt(positions)) ** 2 != positions:
            raise InputError(f"{self.where}: {positions} patches make no square")
        return side * patch

    def check_heads(self, width: int, heads: int) -> int:
        if not 0 < heads <= width or width % heads:
            raise InputError(f"{self.where}: {heads} heads do not divide the width {width}")
        return heads

    def text(self) -> tuple[TokenShape, TextSize]:
        """Sizes of the text encoder and of its input."""
        encoder = "context_encoder."
        hidden, width = self.shape(f"{encoder}layers.0.feed_forward.ffn_1.weight", 2)
        reductions = self.count(f"{encoder}reduction_layers.")
        self.check_heads(width >> max(reductions - 1, 0), self.text_heads)
        compressed = f"{encoder}compressor.fc1.weight" in self.tensors
        features = self.shape(f"{encoder}compressor.fc1.weight", 2)[1] if compressed else width
        convolved = f"{encoder}linear.weight" not in self.tensors
        head = f"{encoder}adaptor.fc1.weight" if convolved else f"{encoder}linear.weight"
        out, numbers = self.shape(head, 2)
        layers, adaptor = self.count(f"{encoder}layers."), out if convolved else None
        size = TextSize(width, layers, reductions, self.text_heads, hidden, compressed, adaptor)
        return TokenShape(numbers // max(width >> reductions, 1), width=features), size

    def dit(self) -> tuple[MapShape, int, Size]:
        """Latent, patch and size of a DiT."""
        width, channels, patch, _ = self.shape("x_embedder.proj.weight", 4)
        side = self.side(self.shape("pos_embed", 3)[1], patch)
        hidden = self.shape("blocks.0.mlp.fc1.weight", 2)[0]
        heads, depth = self.check_heads(width, self.heads), self.count("blocks.")
        size = OfficialSize(depth, width, heads, hidden)
        return MapShape(channels, side, side), patch, size

    def dimr(self) -> tuple[MapShape, int, DiMRSize, list[StageSize]]:
        """Latent, coarsest patch, size and stages of a DiMR."""
        stages, shapes = [], []
        for i in range(max(self.count("stages."), 1)):
            stage = f"stages.{i}."
            width, channels, patch, _ = self.shape(f"{stage}input_layer.1.weight", 4)
            name = f"{stage}input_layer.3.position_embeddings.weight"
            side = self.side(self.shape(name, 2)[0], patch)
            shapes.append(MapShape(channels, side, side))
            hidden, heads, kernel = self.shape(f"{stage}blocks.0.block2.w0.weight", 2)[0], None, 7
            if (name := f"{stage}blocks.0.block1.1.weight") in self.tensors:
                kernel = self.shape(name, 4)[2]
            else:
                heads = self.check_heads(width, self.heads)
            depth = self.count(f"{stage}blocks.") // 2 * 2 + 1  # odd
            last = self.shape(f"{stage}output_layer.2.weight", 4)[2]
            stages.append(StageSize(depth, width, hidden, patch, heads, kernel, last))
        if len(set(shapes)) > 1:
            raise InputError(f"{self.where}: its stages see maps of different sizes, {shapes}")
        first, convolved = stages[0], stages[-1].depth
        numbers = first.depth, first.width, first.heads or 1, first.hidden, convolved
        return shapes[0], first.patch, DiMRSize(*numbers), stages

    def translated(self, layers: int) -> dict[str, Tensor]:
        """Tensors by the names, and in the arrangement, of this library.

        layers: of the text encoder, in whose list the reducing ones follow.
        """
        parts = dict(self.tensors)
        for key, tensor in self.tensors.items():
            if fused := _FUSED.fullmatch(key):
                width = len(parts.pop(key)) // 3
                parts[f"{fused[1]}.query.{fused[2]}"] = tensor[:width]
                parts[f"{fused[1]}.key_value.{fused[2]}"] = tensor[width:]
            elif ".W_K." in key or key.endswith(".tensor_false"):
                second = key.replace(".W_K.", ".W_V.").replace("_false", "_true")
                other = parts.pop(second, tensor[:0])
                if other.shape[1:] != tensor.shape[1:]:
                    raise InputError(f"{self.where}: {second} does not fit {key}")
                parts[key] = torch.cat([tensor, other])
            elif key == "x_embedder.proj.weight":
                parts[key] = tensor.flatten(1)
            elif key == "pos_embed":
                parts[key] = tensor[0]
            elif key.startswith("final_layer.linear."):  # of a patch: pixels, in each the channels
                _, channels, patch, _ = self.shape("x_embedder.proj.weight", 4)
                if len(tensor) == channels * patch**2:
                    pixels = tensor.unflatten(0, (patch**2, channels))
                    parts[key] = pixels.movedim(1, 0).flatten(0, 1)
        renamed: dict[str, Tensor] = {}
        for key, tensor in parts.items():
            name = key if key.startswith("context_encoder.") else f"net.{key}"
            name = re.sub(
                r"\breduction_layers\.(\d+)", lambda m: f"layers.{layers + int(m[1])}", name
            )
            for official, own in zip(_NAMES[::2], _NAMES[1::2], strict=True):
                name = name.replace(official, own)
            if name in renamed:
                raise InputError(f"{self.where}: it has a second {name}, its {key}")
            renamed[name] = tensor
        return renamed

    def model(self, design: str) -> OfficialModel:
        """The network with the tensors in it. InputError where they do not fit each other."""
        size: Size
        if design == "dit":
            target, patch, size = self.dit()
        else:
            target, patch, size, stages = self.dimr()
        source, text = self.text()
        with torch.device("meta"):
            problem = Problem(source, target, patch, "variational", "contrastive")
            net = DiT(problem, size) if design == "dit" else DiMR(problem, stages)
            model = OfficialModel(problem, TextEncoder(source, target, text), net, size)
        tensors, own = self.translated(text.layers), model.state_dict()
        if isinstance(net, DiT):  # a buffer
            own["net.positions"] = net.positions
        faults = [f"lacks {name}" for name in own.keys() - tensors.keys()]
        faults += [f"has an unknown {name}" for name in tensors.keys() - own.keys()]
        faults += [
            f"has {name} of {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
            for name in own.keys() & tensors.keys()
            if tensors[name].shape != own[name].shape
        ]
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise InputError(f"{self.where}: as a {design} it {min(faults)}{more}")
        if isinstance(net, DiT):
            net.positions = tensors.pop("net.positions")
        model.load_state_dict(tensors, assign=True)
        return model.eval()
