"""GenEval (Ghosh et al. 2023): its folders of samples, and its result file as scores.

GenEval detects objects with mmdet 2.x, which is not run here: write the samples in its layout
(`write_samples`), run its `evaluation/evaluate_images.py` on the folder, and read the result file
it writes. The six task scores are means over images, the overall score is the unweighted mean of
the six (djghosh13/geneval, evaluation/summary_scores.py), not the mean over images.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError
from crossflow.files import parse_json, read_text

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
# Prompts of each task: 553 in all. Another set of prompts is not GenEval.
PROMPTS = {
    **{"single_object": 80, "two_object": 99, "counting": 80},
    **{"colors": 94, "position": 100, "color_attr": 100},
}
IMAGES = 4  # of every prompt
PUBLISHED = "github.com/djghosh13/geneval, prompts/evaluation_metadata.jsonl"
PLACE = re.compile(r"(\d+)[/\\]samples[/\\]([^/\\]+)$")


@dataclass(frozen=True)
class Prompt:
    """One line of evaluation_metadata.jsonl."""

    tag: str
    text: str
    metadata: dict[str, Any]  # the line itself, as GenEval reads it


def folder_name(index: int) -> str:
    """`00000`: the folder of the prompt on line `index`, counted from 0."""
    return f"{index:05d}"


def read_prompts(path: Path) -> list[Prompt]:
    """The 553 prompts, in order. InputError for a file that does not hold GenEval's numbers."""
    prompts = [Prompt(str(row.get("tag")), str(row.get("prompt")), row) for _, row in _lines(path)]
    counts = Counter(prompt.tag for prompt in prompts)
    if counts != PROMPTS:
        raise InputError(f"{path}: not GenEval's prompts, {PUBLISHED}: it has {dict(counts)}")
    return prompts


def write_samples(
    folder: Path,
    prompts: Sequence[Prompt],
    images: Callable[[int, str], Sequence[UInt8[np.ndarray, "h w 3"]]],
) -> None:
    """Writes `<index>/metadata.jsonl` and `<index>/samples/<number>.png` for evaluate_images.py.

    images(index, text) returns the four pictures of a prompt; it is called prompt after prompt.
    GenEval scores whatever lies in these folders, so InputError where one exists already;
    ValueError for another number of pictures.
    """
    from PIL import Image

    for index, prompt in enumerate(prompts):
        place = folder / folder_name(index)
        if place.exists():
            raise InputError(f"{place}: exists already, GenEval would score old samples: remove it")
        pictures = list(zip(range(IMAGES), images(index, prompt.text), strict=True))
        (place / "samples").mkdir(parents=True)
        for number, picture in pictures:
            Image.fromarray(picture).save(place / "samples" / f"{number:05d}.png")
        line = json.dumps(prompt.metadata, ensure_ascii=False)
        (place / "metadata.jsonl").write_text(line, encoding="utf-8")


def read_results(path: Path, prompts: Sequence[Prompt]) -> list[list[bool]]:
    """Whether each image of each prompt is correct, in order, from GenEval's result file.

    A line is an image: `filename` (.../00000/samples/00000.png), `tag`, `prompt`, `correct`.
    InputError for a line that is none or is of another prompt than its folder says, an image twice,
    and prompts that have not exactly four images: a part of the set has another score.
    """
    results: list[dict[str, bool]] = [{} for _ in prompts]
    for where, row in _lines(path):
        place, correct = PLACE.search(str(row.get("filename"))), row.get("correct")
        index = int(place[1]) if place else len(prompts)
        known = [(prompt.tag, prompt.text) for prompt in prompts[index : index + 1]]
        other = [(row.get("tag"), row.get("prompt"))] != known
        if not (place and isinstance(correct, bool)) or other or place[2] in results[index]:
            raise InputError(
                f"{where}: no image of the list of prompts, or one that stands twice: needs a "
                "`filename` .../00000/samples/00000.png, the `tag` and `prompt` of that folder, "
                f"and `correct`, true or false; it has {str(row)[:200]}"
            )
        results[index][place[2]] = bool(correct)
    wrong = [f"{i:05d} has {len(row)}" for i, row in enumerate(results) if len(row) != IMAGES]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of {len(prompts)} prompts have not {IMAGES} images, "
            f"the first of them: {wrong[0]}"
        )
    return [[images[name] for name in sorted(images)] for images in results]


def geneval_scores(prompts: Sequence[Prompt], correct: Sequence[Sequence[bool]]) -> Scored:
    """`geneval_<task>` of the six tasks and `geneval_overall`, from `read_results`.

    Every prompt has as many images, so the mean over prompts is the mean over images; the standard
    error is that of prompts, whose images are not independent. The overall score's error combines
    those of the tasks.
    """
    shares = [math.fsum(images) / len(images) for images in correct]
    by_task: dict[str, list[float]] = {tag: [] for tag in PROMPTS}
    for prompt, share in zip(prompts, shares, strict=True):
        by_task[prompt.tag].append(share)
    scored = Scored({f"geneval_{tag}": mean_score(each, "higher") for tag, each in by_task.items()})
    tasks = list(scored.scores.values())
    mean = math.fsum(task.value for task in tasks) / len(tasks)
    error = math.hypot(*(task.stderr or 0.0 for task in tasks)) / len(tasks)
    scored.scores["geneval_overall"] = Score(mean, error, len(shares), "higher")
    names = [folder_name(index) for index in range(len(prompts))]
    scored.items = {"id": names, "tag": [prompt.tag for prompt in prompts], "geneval": shares}
    return scored


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each line of a JSON-lines file. InputError for anything else."""
    # not splitlines: JSON may hold U+2028 as it is
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            row = parse_json(line, where := f"{path} line {number}")
            if not isinstance(row, dict):
                raise InputError(f"{where}: not a JSON object")
            yield where, row
