"""GenEval: result files of its evaluate_images.py, of any text-to-image model, into a record.

    python -m benchmarks.evaluate task=t2i_geneval name=mymodel \
        task.split_file=evaluation_metadata.jsonl predictions=results.jsonl

`task.split_file` is GenEval's list of 553 prompts (github.com/djghosh13/geneval, prompts/);
`predictions` is the result file, or the folder that holds it as results.jsonl. The samples it is
made from, four of every prompt, are drawn by a run of t2i_coco with `task.prompts=FILE`, or
written with any model by `benchmarks.metrics.geneval.write_samples`. Nothing can be trained here:
GenEval has prompts and no pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.splits import Report, choose, digest
from benchmarks.metrics import geneval as metric
from benchmarks.tasks.task import Former, Prepared
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell

DEFAULTS = {"split": "test"}
RESULTS_FILE = "results.jsonl"


class GenevalTruth:
    """GenEval's prompts; a prediction is which of the four images of each are correct."""

    def __init__(self, prompts: Sequence[metric.Prompt]) -> None:
        self.prompts = prompts
        self.ids: Sequence[str] = [metric.folder_name(index) for index in range(len(prompts))]

    def key(self) -> dict[str, Any]:
        lines = [json.dumps(prompt.metadata, sort_keys=True) for prompt in self.prompts]
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

    def write(self, folder: Path, predictions: Sequence[Sequence[bool]]) -> None:
        rows = [
            {
                "filename": f"{name}/samples/{number:05d}.png",
                "tag": prompt.tag,
                "prompt": prompt.text,
                "correct": bool(correct),
            }
            for name, prompt, images in zip(self.ids, self.prompts, predictions, strict=True)
            for number, correct in enumerate(images)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / RESULTS_FILE).write_text(text, encoding="utf-8")

    def score(self, predictions: Sequence[Sequence[bool]]) -> Scored:
        return metric.geneval_scores(self.prompts, predictions)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.prompts[index].text, self.prompts[index].tag

    def cell(self, predictions: Sequence[Sequence[bool]], index: int) -> Cell:
        return f"{sum(predictions[index])} of {len(predictions[index])} correct"

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return self.cells(index)


class TextToImageGeneval(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ("task.split_file",)

    def primary(self, items: int) -> str:
        return "geneval_overall"

    def truth(self, config: Config, report: Report) -> GenevalTruth:
        choose("task.split", config.task.split, ("test",))
        if config.task.limit is not None:
            raise InputError(
                f"task.limit={config.task.limit}: GenEval is scored on all its prompts"
            )
        if config.task.split_file is None:
            raise InputError(
                f"task.split_file is not set: give GenEval's list of prompts, {metric.PUBLISHED}"
            )
        return GenevalTruth(metric.read_prompts(Path(config.task.split_file)))

    def prepared(self, config: Config, report: Report) -> Prepared:
        raise InputError(
            "task=t2i_geneval: GenEval has prompts and nothing to train on; score its result file "
            "with python -m benchmarks.evaluate"
        )


TASK = TextToImageGeneval
