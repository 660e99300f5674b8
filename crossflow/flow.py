"""From a data set to samples: what a notebook or a program of one's own needs of the library."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.utils.data import Dataset

from crossflow import checkpoint
from crossflow.arm import Arm, MethodFile, build_arm
from crossflow.budget import Budget, Training
from crossflow.draws import ItemDraws
from crossflow.errors import InputError
from crossflow.problem import Map, MapShape, Problem, Source, TokenShape, Words
from crossflow.race import train_match
from crossflow.solver import Grid
from crossflow.store import Store, standardise, unstandardise
from crossflow.store_writer import write_store
from crossflow.train import Trainer

BATCH = 64
HEUN = Grid(25)


def make_store(
    folder: Path | str, problem: Problem, data: Dataset, fingerprint: Mapping[str, Any] | str
) -> Store:
    """The training pairs of a data set, written to `folder` unless they are there.

    data: map-style, such as TensorDataset(source, target). An item is (source, target), or a
    dictionary of these and, where they matter, `mask` (True at real tokens), `words` (ids, of a
    problem that has them) and `group` (number of the image: rows of one image are not contrasted).
    fingerprint: what the data are; a store of others, or of other shapes, raises InputError.
    """

    shapes = {"source": problem.source, "words": problem.words}
    tokens = {name: shape for name, shape in shapes.items() if isinstance(shape, TokenShape)}
    last = {name: shape.vocabulary - 1 for name, shape in tokens.items() if shape.vocabulary}

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for first in range(start, stop, BATCH):
            rows = range(first, min(first + BATCH, stop))
            items = [data[row] for row in rows]
            if not isinstance(items[0], Mapping):
                if len(items[0]) != 2:
                    raise InputError("an item is (source, target), or a dictionary of them")
                items = [{"source": source, "target": target} for source, target in items]
            names = [name for name in ("source", "target", "mask", "words") if name in items[0]]
            batch = {name: np.stack([np.asarray(item[name]) for item in items]) for name in names}
            for name in [name for name in names if name in last]:
                ids = batch[name]
                if ids.dtype.kind not in "iu" or not 0 <= ids.min() <= ids.max() <= last[name]:
                    raise InputError(f"{name}: word ids must be from 0 to {last[name]}, and whole")
            if isinstance(problem.source, TokenShape):
                batch.setdefault("mask", np.ones(batch["source"].shape[:2], dtype=np.bool_))
            groups = [item.get("group", row) for row, item in zip(rows, items, strict=True)]
            yield batch | {"groups": groups, "ids": list(map(str, rows))}

    rows = len(data)  # type: ignore[arg-type]  # map-style
    facts = {"data": fingerprint, "rows": rows, "encoder": problem.encoder}
    facts |= {"source": str(problem.source), "target": str(problem.target)}
    facts |= {"words": str(problem.words)} if problem.words else {}
    what = Path(folder), problem.source, problem.target, facts, rows, batches
    return write_store(*what, words=problem.words, shared_statistics=problem.encoder == "identity")


@dataclass
class Flow:
    """A trained arm, and the statistics by which its store was standardised."""

    arm: Arm
    statistics: dict[str, Any]

    @classmethod
    def train(
        cls,
        arm: Arm,
        store: Store,
        budget: Budget,
        folder: Path | str,
        training: Training | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> Flow:
        """Trains `arm` itself to the end of its budget; the flow has the averaged weights.

        folder: of checkpoints and stats.jsonl; killed, the same call goes on from there. Raises
        ArmError where training fails, InputError where the folder holds another run.
        """
        trainer = Trainer(arm, store, budget, training or Training(), Path(folder), seed, device)
        train_match([trainer])
        if trainer.failure is not None:
            raise trainer.failure
        return cls(trainer.average, store.statistics)

    @torch.no_grad()
    def sample(
        self,
        values: Tensor,
        mask: Bool[Tensor, "b length"] | None = None,
        grid: Grid = HEUN,
        guidance: float = 1.0,
        seed: int = 0,
    ) -> Map | Words:
        """Targets (or words) for sources as in the data set; draws depend on (seed, row)."""
        method, device = self.arm.method, next(self.arm.parameters()).device
        shape = method.problem.source
        if values.shape[1:] != shape.sizes:
            raise InputError(f"sources are n x {shape.sizes}, not {tuple(values.shape)}")
        values = values.float() if len(shape.sizes) > 1 else values  # these are word ids
        if isinstance(shape, MapShape):
            values = standardise(values, self.statistics["source"])
        elif mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool)
        targets = []
        for rows in torch.arange(len(values)).split(BATCH):
            source = Source(values[rows], None if mask is None else mask[rows]).to(device)
            ends = method.sample_ends(source, ItemDraws(seed, rows.tolist()))
            targets.append(method.sample(self.arm.net, ends, grid, guidance).x)
        return unstandardise(torch.cat(targets), self.statistics["target"])

    def save(self, path: Path | str) -> None:
        """Weights, and all that makes the arm but a file of `init`, as one safetensors file."""
        arm, method = self.arm, self.arm.method
        options = {o: value for o, value in arm.options.items() if o not in method.ignored}
        facts = {"name": arm.name, "model": arm.model, "options": options}
        facts |= {"method": type(method).__name__, "problem": asdict(method.problem)}
        facts["statistics"] = self.statistics
        checkpoint.write(Path(path), {"": arm.state_dict()}, facts)

    @classmethod
    def load(cls, path: Path | str, method: MethodFile) -> Flow:
        """What `save` wrote; `method` is the method file that was trained."""
        weights, facts = checkpoint.read(Path(path), torch.device("cpu"))
        if "problem" not in facts:
            raise InputError(f"{path} was not written by Flow.save")
        source, target = facts["problem"].pop("source"), facts["problem"].pop("target")
        kind = MapShape if "channels" in source else TokenShape
        if words := facts["problem"].get("words"):
            facts["problem"]["words"] = TokenShape(**words)
        problem = Problem(kind(**source), MapShape(**target), **facts["problem"])
        names = {"options": facts["options"], "name": facts["name"]}
        arm = build_arm(method, problem, facts["model"], **names).eval()
        if (given := type(arm.method).__name__) != facts.get("method", given):
            raise InputError(f"{path} has the weights of {facts['method']}, not of {given}")
        if any(name.startswith("method.weak.") for name in weights[""]):
            arm.method.weak = copy.deepcopy(arm.net)
        try:
            arm.load_state_dict(weights[""])
        except RuntimeError as error:  # of a version whose arms were others: names and shapes
            why = str(error).splitlines()[-1].strip()
            raise InputError(f"{path}: weights of another version, train anew: {why}") from error
        return cls(arm, facts["statistics"])
