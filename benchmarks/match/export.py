"""Sources and truth of a scored split as files, for models that run outside of this harness.

    python -m benchmarks.prepare task=sr_tabletop export=DIR
    (your model: DIR/sources -> OWN)
    python -m benchmarks.evaluate task=sr_tabletop predictions=OWN name=mymodel

Below DIR, one file an item, named by its id: `sources/<id>.png` (8-bit RGB), `truth/<id>.png`, or
`truth/<id>.npy` for depth (float32 metres, 0 = not known). Texts are in `sources.json` or
`truth.json`: [{"id": "7", "texts": ["..."]}]. `export.json` says of which split, and what the
`score_key` of predictions for it will be. Sources are what the task gives all methods, before an
arm makes anything of them: captions, whole photographs, the small pictures of super-resolution.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import registry
from benchmarks.data.predictions import write_depth, write_image
from benchmarks.records import keys
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.data.splits import Report
    from benchmarks.records.samples import Cell
    from benchmarks.tasks.task import Items, Task


def export(config: Config, report: Report) -> Path:
    """Writes the folder `config.export`, whole or not at all; returns it.

    Raises InputError where there is something of that name, or the data are wrong.
    """
    folder = Path(str(config.export))
    if folder.name in ("", "..") or os.path.lexists(folder):
        raise InputError(f"export={folder}: is there already; name a new folder")
    task: Task[Any] = registry.task_of(config)(config, report)
    truth, score = task.test, task.score_fields()
    facts = {
        **{name: score[name] for name in ("task", "version", "split", "primary", "options")},
        "items": len(truth.ids),
        "score_key": keys.digest(score),
    }
    growing = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    made = [parent for parent in folder.parents if not os.path.lexists(parent)]
    try:
        growing.mkdir(parents=True)
        _fill(growing, truth, facts, report)
        growing.rename(folder)
    except OSError as error:
        raise InputError(f"export={folder}: {error.strerror} ({error.filename})") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # the whole export is in it, or it was never made
                parent.rmdir()
    return folder


def _fill(folder: Path, truth: Items, facts: dict[str, Any], report: Report) -> None:
    texts: dict[str, list[dict[str, Any]]] = {"sources": [], "truth": []}
    for index, name in enumerate(truth.ids):
        report("export", index, len(truth.ids))
        for part, value in zip(texts, truth.pair(index), strict=True):
            if isinstance(value, np.ndarray):
                _write(folder / part, name, value)
            else:
                texts[part].append({"id": name, "texts": _listed(value)})
    report("export", len(truth.ids), len(truth.ids))
    for part, rows in texts.items():
        if rows:
            _write_json(folder / f"{part}.json", rows)
    _write_json(folder / "export.json", facts)


def _write(folder: Path, name: str, value: np.ndarray) -> None:
    if value.dtype == np.uint8:
        write_image(folder, name, value)
    else:
        write_depth(folder, name, value)


def _listed(value: Cell | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
