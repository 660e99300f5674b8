"""A training step: images/s of `Trainer.step` over the official CrossFlow's step, timed by turns.

python -m benchmarks.perf.official_step --official CHECKOUT --model S --batch 8

CHECKOUT is a work tree of github.com/qihao067/CrossFlow; it needs timm, open_clip_torch,
torchdiffeq and absl-py. Both go from 77 x 768 text features to a latent of 4 x 32 x 32, 256 tokens.
Official are the DiT, with activation checkpointing as released and without, the loss (flow, KL,
contrastive, null rows), optimizer, schedule and average. Text encoder and image tower are ours in
both: theirs do not grow with the DiT (the tower alone is a ViT-L), and refuse this latent.
"""

import sys
import tempfile
from contextlib import redirect_stdout
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from torch import Tensor, nn

from benchmarks.perf import turns
from crossflow.problem import MapShape, Problem, Source, TokenShape
from crossflow.train import Trainer

PROBLEM = Problem(TokenShape(77, width=768), MapShape(4, 32, 32), 2, "variational", "contrastive")
CONFIG = SimpleNamespace(latent_size=32, learn_sigma=False, channels=4, clip_dim=768)
CONFIG.num_clip_token, CONFIG.textVAE, CONFIG.cfg_indicator = 77, MagicMock(), PROBLEM.null_rate
ADAMW = {"name": "adamw", "lr": 2e-5, "weight_decay": 0.03, "betas": (0.9, 0.9)}


def network(trainer: Trainer, checkpointing: bool) -> Any:
    """The official DiT of the trainer's size, with that one's encoder and tower."""
    dit, size, method = import_module("libs.model.dit_t2i"), trainer.arm.size, trainer.arm.method
    theirs = {name: MagicMock() for name in ("TransEncoder", "Adaptor", "open_clip")}
    theirs["open_clip"].create_model_and_transforms.return_value = MagicMock(), None, None
    sizes = {"hidden_size": size.width, "depth": size.depth, "num_heads": size.heads}
    with patch.multiple(dit, **theirs):
        net = dit.DiT(CONFIG, patch_size=PROBLEM.patch, **sizes)
    net.encoder, net.tower = method.encoder, method.tower
    net.scale = nn.Parameter(torch.tensor(1 / 0.07))

    def encode(condition_context: Tensor, tar_shape: object, mask: Tensor) -> list[Tensor]:
        moments = net.encoder(Source(condition_context, mask))
        mean, logvar = (part.flatten(1) for part in moments)
        return [net._reparameterize(mean, logvar), mean, logvar]

    net._text_encoder = encode
    net._img_clip = lambda image_input: (net.tower(image_input).flatten(1).float(), net.scale)
    for block in () if checkpointing else net.blocks:
        block.forward = block._forward
    return net.to(trainer.device)


def official(networks: list[Any], trainer: Trainer, device: str) -> turns.Turn:
    """Their step, of a network and its average."""
    utils, (net, average) = import_module("utils"), networks
    with redirect_stdout(sys.stderr):
        optimizer = utils.get_optimizer(utils.trainable_parameters(net), **ADAMW)
    schedule = utils.get_lr_scheduler(optimizer, "customized", warmup_steps=5000)
    loss_of = import_module("diffusion.flow_matching").FlowMatching()
    half = trainer.training.precision == "bf16"
    net.forward = torch.autocast(device, torch.bfloat16, enabled=half)(net.forward)
    pair = trainer.store.pairs(range(trainer.training.batch)).to(device)
    given = {"nnet_style": "dit", "model_config": CONFIG, "training_step": 0, "loss_coeffs": []}
    given |= {"all_config": SimpleNamespace(nnet=SimpleNamespace(model_args=CONFIG))}
    given |= {"cond": pair.source.values, "con_mask": pair.source.mask}

    def step() -> None:
        optimizer.zero_grad()
        latent = pair.target.clone()  # null rows are overwritten
        loss, _ = loss_of(latent, net, batch_img_clip=pair.target, **given)
        loss.mean().backward()
        optimizer.step()
        schedule.step()
        utils.ema(average, net, 0.9999)

    return turns.of(step, device)


def main() -> None:
    settings = {"model": "S", "batch": 8, "precision": "bf16", "steps": 2, "eager": False}
    parser = turns.options(__doc__, official="", **settings)
    given = parser.parse_args()
    folder = turns.checkout(parser, "official", given.official, "libs/model/dit_t2i.py")
    sys.path.insert(0, str(folder))
    works = {"product": turns.product(given)}
    with tempfile.TemporaryDirectory() as place:
        for compiled in (False,) if given.eager else (False, True):
            trainer = turns.trainer(PROBLEM, given, place, compile=compiled)
            works["compiled" if compiled else "eager"] = turns.of(trainer.step, given.device)
        for name, checkpointing in {"as released": True, "no checkpointing": False}.items():
            # Each has its own encoder and tower.
            own = [turns.trainer(PROBLEM, given, place, name=f"{name} {k}") for k in (1, 2)]
            networks = [network(each, checkpointing) for each in own]
            works[name] = official(networks, own[0], given.device)
        rounds = turns.Rounds(works, given)
    for name in list(works)[1:]:
        ratio = rounds.ratio("as released", name)
        reached = rounds.reached(trainer.arm.cost.flops_train * given.batch, name)
        each = given.batch / rounds.seconds(name)
        print(f"{name}: images/s {each:.2f}, over released {ratio:.2f}, {reached}")


if __name__ == "__main__":
    turns.command(main)
