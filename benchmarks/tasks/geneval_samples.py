"""`task.prompts`: what an arm of t2i_coco draws for GenEval's prompts, in GenEval's folders.

The samples lie in `<run folder>/geneval`; evaluate_images.py makes a result file of them, which
`python -m benchmarks.evaluate task=t2i_geneval` reads into a record. Prompts are never trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.splits import Report, digest
from benchmarks.metrics import geneval
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.task import Extra

if TYPE_CHECKING:
    from benchmarks.codecs.text import CaptionTokens
    from crossflow.problem import Problem

BATCH = 64


def geneval_extra(
    work: Path,
    prompts: Sequence[geneval.Prompt],
    problem: Problem,
    source: CaptionTokens,
    task_facts: Mapping[str, Any],
    statistics: Mapping[str, Any],
    report: Report,
) -> Extra:
    """The prompts as sources, four pictures of each.

    task_facts: task, version and codecs, as in the fingerprints of the task's other stores.
    statistics: of the training store.
    """
    texts = [prompt.text for prompt in prompts]

    def load(rows: slice) -> dict[str, Any]:
        values, mask = source.encode(texts[rows])
        names = [geneval.folder_name(index) for index in range(len(texts))[rows]]
        return {
            "target": np.zeros((len(names), *problem.target.sizes), np.float32),  # there is none
            "source": values[:, None],  # one caption each
            "mask": mask[:, None],
            "groups": names,
            "ids": names,
        }

    # Targets and their units are no part of the prompts, but arms are sampled in them: a store with
    # another run's statistics would decode to other pictures.
    facts = {**task_facts, "part": "geneval", "prompts": digest(json.dumps(texts))}
    facts |= {"target": list(problem.target.sizes), "statistics": statistics}
    store = open_store(
        work / "stores" / "t2i_coco-geneval",
        problem,
        facts,
        len(texts),
        in_batches(lambda: load, BATCH),
        statistics,
        report,
    )

    def write(folder: Path, drawn: Sequence[Sequence[Any]]) -> None:
        geneval.write_samples(
            folder, prompts, lambda index, _: [pictures[index] for pictures in drawn]
        )

    return Extra("geneval", store, geneval.IMAGES, write)
