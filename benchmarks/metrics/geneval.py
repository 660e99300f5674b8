"""GenEval (Ghosh et al. 2023): its folders of samples, and its result file as scores.

Its detector, mmdet 2.x, is not run here: `write_samples` in its layout, run its
`evaluation/evaluate_images.py` on the folder, and read the result file it writes. Scores are those
of djghosh13/geneval, evaluation/summary_scores.py.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.inputs import parse_json, read_text
from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

Prompt = dict[str, Any]  # a line of evaluation_metadata.jsonl: `tag`, `prompt`, what to detect
PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
# Prompts of each task: 553 in all. Another set of prompts is not GenEval.
PROMPTS = {"single_object": 80, "two_object": 99, "counting": 80}
PROMPTS |= {"colors": 94, "position": 100, "color_attr": 100}
IMAGES = 4  # of every prompt
PUBLISHED = "github.com/djghosh13/geneval, prompts/evaluation_metadata.jsonl"
PLACE = re.compile(r"(\d+)[/\\]samples[/\\]([^/\\]+)$")
folder_name = "{:05d}".format  # of the prompt on a line, counted from 0


def read_prompts(path: Path) -> list[Prompt]:
    """The 553 prompts, in order. InputError for a file that does not hold GenEval's numbers."""
    prompts = _rows(path)
    counts = Counter(str(p.get("tag")) if "prompt" in p else "no prompt" for p in prompts)
    if counts != PROMPTS:
        raise InputError(f"{path}: not GenEval's prompts, {PUBLISHED}: it has {dict(counts)}")
    return prompts


def write_samples(
    folder: Path,
    prompts: Sequence[Prompt],
    images: Callable[[int], Sequence[UInt8[np.ndarray, "h w 3"]]],
) -> None:
    """Writes `<index>/metadata.jsonl` and `<index>/samples/<number>.png` for evaluate_images.py.

    images(index) returns the four pictures of a prompt. GenEval scores whatever lies in these
    folders, so InputError where one exists already; ValueError for another number of pictures.
    """
    from PIL import Image

    for index, prompt in enumerate(prompts):
        place = folder / folder_name(index)
        if place.exists():
            raise InputError(f"{place}: exists already, GenEval would score old samples: remove it")
        pictures = zip(range(IMAGES), images(index), strict=True)
        (place / "samples").mkdir(parents=True)
        for number, picture in pictures:
            Image.fromarray(picture).save(place / "samples" / f"{number:05d}.png")
        line = json.dumps(prompt, ensure_ascii=False)
        (place / "metadata.jsonl").write_text(line, encoding="utf-8")


def read_results(path: Path, prompts: Sequence[Prompt]) -> list[list[bool]]:
    """Whether each image of each prompt is correct, in order, from GenEval's result file.

    A line is an image: `filename` (.../00000/samples/00000.png), `tag`, `prompt`, `correct`.
    InputError for any other line, an image twice, and prompts that have not four images: a part of
    the set has another score.
    """
    results: list[dict[str, bool]] = [{} for _ in prompts]
    for row in _rows(path):
        place, correct = PLACE.search(str(row.get("filename"))), row.get("correct")
        index = int(place[1]) if place else len(prompts)
        asked = [(prompt["tag"], prompt["prompt"]) for prompt in prompts[index : index + 1]]
        fits = isinstance(correct, bool) and asked == [(row.get("tag"), row.get("prompt"))]
        if not (place and fits) or place[2] in results[index]:
            reason = "no image of the list of prompts, or one that stands twice"
            raise InputError(f"{path}: {reason}: {str(row)[:200]}")
        results[index][place[2]] = bool(correct)
    wrong = [f"{i:05d} has {len(row)}" for i, row in enumerate(results) if len(row) != IMAGES]
    if wrong:
        reason = f"{len(wrong)} of {len(prompts)} prompts have not {IMAGES} images"
        raise InputError(f"{path}: {reason}, the first of them: {wrong[0]}")
    return [[images[name] for name in sorted(images)] for images in results]


def geneval_scores(prompts: Sequence[Prompt], correct: Sequence[Sequence[bool]]) -> Scored:
    """`geneval_<task>` of the six tasks, and `geneval_overall`, the unweighted mean of the six.

    Every prompt has as many images, so the mean over prompts is the mean over images; the standard
    error is that of prompts, whose images are not independent.
    """
    shares = [sum(images) / len(images) for images in correct]
    tags = [prompt["tag"] for prompt in prompts]
    scored = Scored({}, {"id": [*map(folder_name, range(len(tags)))], "tag": tags})
    scored.items["geneval"] = shares
    for task in PROMPTS:
        of_task = [share for tag, share in zip(tags, shares, strict=True) if tag == task]
        scored.scores[f"geneval_{task}"] = mean_score(of_task, "higher")
    tasks = list(scored.scores.values())
    mean = math.fsum(task.value for task in tasks) / len(tasks)
    error = math.hypot(*(task.stderr or 0.0 for task in tasks)) / len(tasks)
    scored.scores["geneval_overall"] = Score(mean, error, len(shares), "higher")
    return scored


def _rows(path: Path) -> list[dict[str, Any]]:
    # not splitlines: JSON may hold U+2028 as it is
    lines = enumerate(read_text(path).split("\n"), start=1)
    rows = [parse_json(line, f"{path} line {number}") for number, line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: a line is no JSON object")
    return rows
