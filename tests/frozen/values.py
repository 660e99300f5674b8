"""What tests/test_frozen.py holds fast, computed: everything that a move of files may touch."""

import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from baselines import flow_matching, regression
from benchmarks.codecs import caption as codecs
from benchmarks.config import command, registry
from benchmarks.match import recording
from benchmarks.records import keys
from benchmarks.tasks import caption_tabletop
from crossflow import crossflow
from crossflow.arm import build_arm
from crossflow.budget import Budget, Training
from crossflow.problem import MapShape, Pair, Problem, Source, TokenShape
from crossflow.store import Store
from crossflow.train import Trainer

PUBLIC = Path(__file__).parents[2] / "results" / "public"
DERIVED = ("runs.csv", "leaderboard.csv", "expected.csv", "tables/*.md")
METHODS = {module.NAME: module for module in (crossflow, flow_matching, regression)}
TABLETOP = ("depth_tabletop", "sr_tabletop", "t2i_tabletop", "caption_tabletop")
LIMITS = ("task.limit=4", "task.train_limit=16", "task.validation_limit=4")
REAL = {  # task -> its field, the place of its files below CROSSFLOW_BENCH_DATA
    "depth_nyu": ("task.root", "roots/nyu"),
    "sr_imagenet": ("task.root", "roots/imagenet"),
    "t2i_coco": ("task.root", "roots/coco"),
    "caption_coco": ("task.root", "roots/coco"),
    # Without training data: for scoring only.
    "depth_kitti": ("task.root", "roots/kitti"),
    "sr_folder": ("task.root", "sr/Set5/x4"),
    "t2i_geneval": ("task.split_file", "lists/prompts/geneval_evaluation_metadata.jsonl"),
}
SCORED_ONLY = ("depth_kitti", "sr_folder", "t2i_geneval")
PROBLEMS = {
    "text to map": Problem(
        TokenShape(20, vocabulary=39), MapShape(16, 8, 8), 1, "variational", "contrastive", 0.1
    ),
    "map to map": Problem(
        MapShape(3, 32, 32), MapShape(1, 32, 32), 4, "variational", "reconstruction", 0.0
    ),
    "same shape": Problem(MapShape(16, 8, 8), MapShape(16, 8, 8), 1, "identity", None, 0.0),
    "captioning": Problem(
        MapShape(16, 8, 8), MapShape(2, 8, 8), 1, "variational", "reconstruction", 0.0
    ),
}
# With null rows in each, so that both branches are trained.
SMALL = {
    "text to map": Problem(
        TokenShape(5, vocabulary=7), MapShape(2, 4, 4), 1, "variational", "contrastive", 0.25
    ),
    "map to map": Problem(
        MapShape(3, 8, 8), MapShape(2, 8, 8), 2, "variational", "reconstruction", 0.25
    ),
    "same shape": Problem(MapShape(2, 8, 8), MapShape(2, 8, 8), 2, "identity", None, 0.25),
}
ROWS, STEPS = 12, 5


def config_of(task, work, *fields):
    """The configuration that `run` makes of the fields."""
    made = []
    arguments = [f"task={task}", *fields, f"work={work}", "device=cpu"]
    assert command.run(lambda config: made.append(config) or 0, arguments, command="run") == 0
    return made[0]


def score_fields(config):
    return registry.task_of(config)(config).score_fields()


def prepared(config):
    """The task made ready; its caption codec, if any, is trained for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_tabletop, "CODEC_STEPS", 4)
        patch.setattr(codecs, "LEAST_STEPS", 2)
        patch.setattr(codecs, "MOST_STEPS", 2)
        return registry.task_of(config)(config).prepare()


def fair_fields(config, ready, score):
    match = SimpleNamespace(config=config, prepared=ready, score=score, device="cpu", tried={})
    return recording.fair_fields(match)


def floor_scores(ready):
    scores = ready.truth.score(ready.floor()).scores
    return {name: score.value for name, score in sorted(scores.items())}


def cost(method, problem):
    """Cost and size of a method of model T; None where it does not apply."""
    if METHODS[method].applies(problem) is not None:
        return None
    arm = build_arm(METHODS[method], problem, "T")
    ratios = {"params_ratio": arm.params_ratio, "flops_ratio": arm.flops_ratio}
    return asdict(arm.cost) | asdict(arm.size) | ratios


def losses(method, problem, folder):
    """The journal's loss, terms, rate and gradient of each of STEPS training steps."""
    with float64():
        arm = build_arm(METHODS[method], problem, "T", batch=8)
        fill(arm)
        # Rates 0, 1/2, 1, 1, 1/2 of the peak: a rate that never reaches the optimizer shows.
        training = Training(batch=8, lr=1e-3, warmup=0.4, cooldown=0.4)
        Trainer(arm, Rows(problem), Budget(steps=STEPS), training, folder, log_every=1).run()
    lines = map(json.loads, (folder / "stats.jsonl").read_text().splitlines())
    return [{name: line[name] for name in ("lr", "loss", "terms", "grad_norm")} for line in lines]


@contextmanager
def float64():
    """The library computes in float32, whose last bits differ between processors.

    Adam turns them into steps of full size where a gradient is near zero, so that the losses of two
    machines would part. In float64 they agree to 1e-6 with room to spare.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def numbers(shape, start):
    """Numbers in [-1, 1) that look random and are exact on every machine, float64."""
    index = torch.arange(start, start + torch.Size(shape).numel(), dtype=torch.int64)
    return ((index * 2654435761 % 2**32).double() / 2**31 - 1).reshape(shape)


def fill(arm):
    """Every parameter from `numbers`, scaled by its fan-in: no layer starts at zero.

    A parameter's numbers follow from its shape and how many of that shape come before it, not from
    its name.
    """
    seen = Counter()
    with torch.no_grad():
        for parameter in arm.parameters():
            shape = parameter.shape
            scale = 0.1 if len(shape) < 2 else shape[1:].numel() ** -0.5
            parameter.copy_(scale * numbers(shape, 1000 * seen[shape] + 1))
            seen[shape] += 1
        for layer in arm.modules():
            if isinstance(layer, torch.nn.LayerNorm) and layer.elementwise_affine:
                layer.weight += 1


class Rows(Store):
    """A store in memory, as the trainer sees one: ROWS pairs, two rows an image."""

    captions, digest, ids = 1, "rows", [f"row{index}" for index in range(ROWS)]

    def __init__(self, problem):
        target = numbers((ROWS, *problem.target.sizes), 1)
        groups, mask = torch.arange(ROWS) // 2, None
        if isinstance(problem.source, TokenShape):
            words = torch.arange(ROWS * problem.source.length).reshape(ROWS, -1)
            values = words * words % problem.source.vocabulary
            mask = torch.arange(problem.source.length) < 2 + torch.arange(ROWS)[:, None] % 4
        else:
            values = numbers((ROWS, *problem.source.sizes), 7)
        self.parts = target, values, mask, groups

    def __len__(self):
        return ROWS

    def pairs(self, rows, captions=None):
        target, values, mask, groups = (None if x is None else x[rows] for x in self.parts)
        return Pair(Source(values, mask), target, groups)


def processor():
    """Digest of a little float32 arithmetic: equal where rendered and encoded bits are equal too.

    Elsewhere the digests of stores are not compared, and floors to 1e-3.
    """
    x = torch.sin(torch.arange(4 * 3 * 32 * 32).float()).reshape(4, 3, 32, 32)
    weight = torch.cos(torch.arange(8 * 3 * 9).float()).reshape(8, 3, 3, 3)
    y = torch.nn.functional.conv2d(x, weight).flatten(1)
    whole = torch.exp(torch.tanh(y @ y.T)).numpy().tobytes() + y.numpy().tobytes()
    return sha256(whole + torch.__version__.encode())


def sha256(content):
    return hashlib.sha256(content).hexdigest()


# What make.py freezes, by the name of the file.


def record_values():
    """sha256 and keys of each published record."""
    values = {}
    for path in sorted((PUBLIC / "records").glob("*/*.json")):
        content = json.loads(path.read_bytes())
        names = ("score_key", "fair_key")
        values[path.stem] = [sha256(path.read_bytes()), *(content[name] for name in names)]
    return values


def derived_values():
    paths = sorted(path for pattern in DERIVED for path in PUBLIC.glob(pattern))
    return {str(path.relative_to(PUBLIC)): sha256(path.read_bytes()) for path in paths}


def task_values(task, work, *fields):
    """Keys and their fields; of what can be trained also stores, and the floor's scores."""
    config = config_of(task, work, *fields)
    score = score_fields(config)
    values = {"score_key": keys.digest(score), "score": score}
    if task in SCORED_ONLY:
        return values
    ready = prepared(config)
    fair = fair_fields(config, ready, score)
    trained = "caption_codec" in fair["codecs"]
    if trained:
        # When these values were made, equal codecs were not yet equal files.
        fair["codecs"]["caption_codec"] = "trained just now"
    values |= {"fair_key": keys.digest(fair), "fair": fair}
    for split in ("train", "validation", "test"):
        store = getattr(ready, split)
        values[split] = {"digest": store.digest}
        # The name of a store of the user's files also holds the times of these files.
        if task in TABLETOP and not trained:
            values[split]["store"] = store.folder.name
    return values | ({"floor": floor_scores(ready)} if task in TABLETOP else {})


def tabletop_values(work):
    return {task: task_values(task, work, *LIMITS) for task in TABLETOP}


def real_values(task, data, work):
    field, place = REAL[task]
    return task_values(task, work, f"{field}={data / place}")


def cost_values():
    return {name: {m: cost(m, problem) for m in METHODS} for name, problem in PROBLEMS.items()}


def loss_values(folder):
    return {
        name: {
            method: losses(method, problem, folder / name / method)
            for method, module in METHODS.items()
            if module.applies(problem) is None
        }
        for name, problem in SMALL.items()
    }
