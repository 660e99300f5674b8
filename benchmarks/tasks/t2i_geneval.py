"""GenEval: result files of its evaluate_images.py, of any text-to-image model, into a record.

    python -m benchmarks.evaluate task=t2i_geneval name=mymodel \
        task.split_file=evaluation_metadata.jsonl predictions=results.jsonl

`task.split_file` is GenEval's list of 553 prompts (github.com/djghosh13/geneval, prompts/);
`predictions` is the result file, or the folder that holds it as results.jsonl. The samples it is
made from, four of every prompt, are drawn by a run of t2i_coco with `task.prompts=FILE`. Nothing
can be trained here: GenEval has prompts and no pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.config.inputs import is_file, is_folder
from benchmarks.data.splits import choose, digest
from benchmarks.metrics import geneval as metric
from benchmarks.metrics.score import Scored
from benchmarks.records.samples import Cell
from benchmarks.tasks.task import Items, Prepared, Task
from crossflow.errors import InputError
from crossflow.problem import Problem

DEFAULTS = {"split": "test"}
RESULTS_FILE = "results.jsonl"


class Verdicts(Items):
    """GenEval's prompts; a prediction is which of the four images of each are correct."""

    name = "test"

    def __init__(self, prompts: Sequence[metric.Prompt]) -> None:
        self.prompts = prompts
        self.ids = [metric.folder_name(index) for index in range(len(prompts))]

    def key(self) -> dict[str, Any]:
        truth = digest(*(json.dumps(each, sort_keys=True) for each in self.prompts))
        return self.named(truth, {"geneval": metric.PROTOCOL}, images=metric.IMAGES)

    def read(self, folder: Path) -> list[list[bool]]:
        path = folder / RESULTS_FILE if is_folder(folder) else folder
        if not is_file(path):
            raise InputError(f"predictions={folder}: no {RESULTS_FILE}, GenEval's result file")
        return metric.read_results(path, self.prompts)

    def score(self, predictions: Sequence[Sequence[bool]]) -> Scored:
        return metric.geneval_scores(self.prompts, predictions)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.prompts[index]["prompt"], self.prompts[index]["tag"]

    def cell(self, predictions: Sequence[Sequence[bool]], index: int) -> Cell:
        return f"{sum(predictions[index])} of {len(predictions[index])} correct"


class TextToImageGeneval(Task[Verdicts]):
    """See the file's docstring."""

    version, ranked_by, uses = 1, "geneval_overall", ("task.split_file",)

    def items(self, part: str) -> Verdicts:
        task = self.config.task
        choose("task.split", task.split, ("test",))
        if task.limit is not None:
            raise InputError(f"task.limit={task.limit}: GenEval is scored on all its prompts")
        if task.split_file is None:
            raise InputError(
                f"task.split_file is not set: give GenEval's list of prompts, {metric.PUBLISHED}"
            )
        return Verdicts(metric.read_prompts(Path(task.split_file)))

    @cached_property
    def problem(self) -> Problem:
        return self.prepare().problem

    def prepare(self) -> Prepared:
        raise InputError(
            "task=t2i_geneval: GenEval has prompts and nothing to train on; score its result file "
            "with python -m benchmarks.evaluate"
        )


TASK = TextToImageGeneval
