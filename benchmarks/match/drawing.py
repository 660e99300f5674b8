"""The scored captions drawn with weights of CrossFlow's authors, as their `train_t2i.py` does.

x0 is a draw of the text encoder, nothing is standardised, x1 is the autoencoder's mean times 0.2301
whatever the autoencoder's own factor is. Pictures of 512 pixels are brought to a `task.size` of 256
by a bicubic filter, on 8 bits, as the authors' FID does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from benchmarks.config import registry
from benchmarks.config.inputs import is_file, is_folder, read_json
from benchmarks.match.outside import alone
from benchmarks.match.sampling import Sampler
from benchmarks.tasks.t2i_coco import ScoredPhotos, TextToImageCoco
from crossflow.errors import InputError, differences
from crossflow.files import replacing, sha256, write_atomic
from crossflow.method import Ends, Method
from crossflow.official import LATENT_SCALE, OfficialModel, load_official
from crossflow.solver import Grid

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.data.splits import Report

NEEDED = "checkpoint predictions weights.text_encoder weights.autoencoder sampling.guidance".split()
SETTINGS = "drawn.json"  # in the folder: how its pictures were drawn


def draw(config: Config, report: Report) -> int:
    """Writes the picture of each scored caption, `<caption id>.png`, where it is not there yet, to
    the folder `config.predictions`; returns how many there are. InputError for weights that do not
    fit each other or the task, and for a folder of other pictures."""
    alone(f"checkpoint={config.checkpoint}")
    if lacking := [field for field in NEEDED if attrgetter(field)(config) is None]:
        raise InputError(f"{lacking[0]}: is needed, see python -m benchmarks.sample --help")
    task = registry.task_of(config)(config, report)
    assert isinstance(task, TextToImageCoco)  # no other task reads both weights
    path, folder = Path(str(config.checkpoint)).expanduser(), Path(str(config.predictions))
    painter = Painter(config, task, load_official(path))
    scored, given = task.test, config.sampling
    assert isinstance(scored, ScoredPhotos)
    settings = {"steps": given.steps, "solver": given.solver, "guidance": painter.guidance}
    settings |= {"precision": given.precision, "seed": config.seed, "size": task.space.size}
    _begin(folder, {"checkpoint_sha256": sha256(path), **settings, **task.frozen})
    left = [i for i, name in enumerate(scored.ids) if not is_file(folder / f"{name}.png")]
    for start in range(0, len(left), given.batch):
        rows = left[start : start + given.batch]
        names = [scored.ids[row] for row in rows]
        pictures = painter(names, [scored.captions[row] for row in rows])
        for name, picture in zip(names, pictures, strict=True):
            with replacing(folder / f"{name}.png", durable=False) as partial:
                picture.save(partial, "PNG")
        report("drawing", start + len(rows), len(left))
    return len(scored.ids)


def _begin(folder: Path, settings: dict[str, object]) -> None:
    """Makes the folder, or finds it begun with the same settings."""
    about = folder / SETTINGS
    if is_file(about):
        if differ := differences(read_json(about), settings):
            why = f"its pictures are drawn otherwise ({differ})"
            raise InputError(f"predictions={folder}: {why}; name a new folder")
    elif is_folder(folder) and any(folder.iterdir()):
        raise InputError(f"predictions={folder}: holds something else; name a new folder")
    write_atomic(about, json.dumps(settings, indent=1))


class Painter:
    """From captions to pictures of `task.size`. InputError where weights and task do not fit."""

    def __init__(self, config: Config, task: TextToImageCoco, model: OfficialModel) -> None:
        problem, given = model.problem, config.sampling
        codec, size = task.space.codec, task.space.size
        assert codec is not None
        if task.tokens.shape != problem.source:
            both = f"gives {task.tokens.shape}, the checkpoint reads {problem.source}"
            raise InputError(f"weights.text_encoder {both}")
        if codec.channels != problem.target.channels:
            both = f"{codec.channels} channels, those of the checkpoint {problem.target.channels}"
            raise InputError(f"weights.autoencoder: its latents have {both}")
        side = problem.target.height * codec.factor
        if size not in (side, side // 2):
            raise InputError(f"task.size={size}: the checkpoint draws {side}, to keep or to halve")
        self.tokens, self.codec, self.size = task.tokens, codec, size
        self.model, self.method = model.to(task.device), Method(problem)
        grid = Grid(given.steps, given.solver)
        self.sampler = Sampler(grid, given.batch, config.seed, task.device)
        self.guidance, self.half = float(given.guidance or 0), given.precision == "bf16"

    @torch.no_grad()
    def __call__(self, names: Sequence[str], captions: Sequence[str]) -> list[Image.Image]:
        """names: of the items, which tell their random numbers."""
        device = self.sampler.device
        values, mask = (torch.from_numpy(x).to(device) for x in self.tokens.encode(captions))
        mean, logvar = self.model.encode_text(values.float(), mask)
        assert logvar is not None
        noise = self.sampler.draws(names).normal("source", mean.shape[1:]).to(device)
        x0 = mean + torch.exp(logvar / 2) * noise
        ends = Ends(x0, None, null=self.method.no_nulls(x0))
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.half):
            x1 = self.method.sample(self.model.net, ends, self.sampler.grid, self.guidance).x
        raw, facts = x1 / LATENT_SCALE, self.codec.facts  # as the autoencoder itself gives latents
        scale, shift = (float(str(facts[name])) for name in ("scale", "shift"))
        pictures = map(Image.fromarray, self.codec.decode((raw - shift) * scale))
        sizes = (self.size, self.size)
        return [each if each.size == sizes else each.resize(sizes) for each in pictures]
