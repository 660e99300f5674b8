"""GenEval: result files of its evaluate_images.py, of any text-to-image model, into a record.

    python -m benchmarks.evaluate task=t2i_geneval name=mymodel \
        task.split_file=evaluation_metadata.jsonl predictions=results.jsonl

`task.split_file` is GenEval's list of 553 prompts (github.com/djghosh13/geneval, prompts/);
`predictions` is the result file, or the folder that holds it as results.jsonl. The samples it is
made from, four of every prompt, are drawn by a run of t2i_coco with `task.prompts=FILE`, or
written with any model by `benchmarks.metrics.geneval.write_samples`. Nothing can be trained here:
GenEval has prompts and no pictures.

`Prompts` are what an arm of t2i_coco draws, into `<run folder>/geneval`; they are never trained on.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.splits import choose, digest
from benchmarks.metrics import geneval as metric
from benchmarks.tasks.task import Items, Prepared, Task, Trained
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

if TYPE_CHECKING:
    from benchmarks.codecs.text import CaptionTokens
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.store import Store

DEFAULTS = {"split": "test"}
RESULTS_FILE = "results.jsonl"


class Prompts(Items):
    """GenEval's prompts as sources of a text-to-image task, in the units of its training store."""

    name, batch = "geneval", 64
    store: Store

    def __init__(
        self,
        task: Task[Any],
        tokens: CaptionTokens,
        prompts: Sequence[metric.Prompt],
        statistics: Mapping[str, Any],
    ) -> None:
        self.task, self.tokens, self.prompts, self.statistics = task, tokens, prompts, statistics
        self.texts = [prompt["prompt"] for prompt in prompts]
        self.ids = [metric.folder_name(index) for index in range(len(prompts))]

    def facts(self) -> dict[str, Any]:
        """Arms are sampled in the units of the targets: another run's would be other pictures."""
        facts = {"part": "geneval", "prompts": digest(json.dumps(self.texts)), **self.task.frozen}
        target = list(self.task.problem.target.sizes)
        return facts | {"target": target, "statistics": self.statistics}

    def rows(self, part: slice) -> dict[str, Any]:
        values, mask = self.tokens.encode(self.texts[part])
        return {
            "target": np.zeros((len(values), *self.task.problem.target.sizes), np.float32),  # none
            "source": values[:, None],  # one caption each
            "mask": mask[:, None],
            "groups": self.ids[part],
            "ids": self.ids[part],
        }

    def draw(self, prepared: Prepared, trained: Trained) -> None:
        """Four pictures of each prompt, in GenEval's folders."""
        rows, drawn = len(self.store), []
        for number in range(metric.IMAGES):

            def report(done: int, _: int, before: int = number * rows) -> None:
                trained.report("sampling for geneval", before + done, metric.IMAGES * rows)

            sampler = replace(trained.sampler, draw=number)
            given = self.store, prepared.decode, trained.guidance, report
            drawn.append(sampler.predict(trained.arm, *given).values)
        folder = trained.folder / "geneval"
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        metric.write_samples(folder, self.prompts, lambda index: [d[index] for d in drawn])
        print(f"geneval: {folder}", file=sys.stderr)


class Verdicts(Items):
    """GenEval's prompts; a prediction is which of the four images of each are correct."""

    def __init__(self, prompts: Sequence[metric.Prompt]) -> None:
        self.prompts = prompts
        self.ids = [metric.folder_name(index) for index in range(len(prompts))]

    def key(self) -> dict[str, Any]:
        lines = [json.dumps(prompt, sort_keys=True) for prompt in self.prompts]
        return {
            "split": "test",
            "items": digest("\n".join(self.ids)),
            "truth": digest(*lines),
            "protocols": {"geneval": metric.PROTOCOL},
            "options": {"images": metric.IMAGES},
        }

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

    version, uses = 1, ("task.split_file",)

    def primary(self, items: int) -> str:
        return "geneval_overall"

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

    def prepare(self) -> Prepared:
        raise InputError(
            "task=t2i_geneval: GenEval has prompts and nothing to train on; score its result file "
            "with python -m benchmarks.evaluate"
        )


TASK = TextToImageGeneval
