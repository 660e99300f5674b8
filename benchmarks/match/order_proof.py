"""Proof that arms read the same rows in the same order, as far as both went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crossflow.order import Chain, Order

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from crossflow.train import Trainer


def proofs(match: Match, trainers: Sequence[Trainer]) -> dict[str, Any]:
    """By arm, the hash chain of training ids and how it relates to the other arms' chains, those of
    an earlier process too: an interrupted match leaves the records of an unbroken one."""
    rows = {name: record.fair.proof.get("training_ids") for name, record in match.rows.items()}
    earlier: dict[str, Any] = {name: chain for name, chain in rows.items() if chain is not None}
    trained = [trainer for trainer in trainers if trainer.failure is None]
    ours: dict[str, Any] = proof_of_order(trained, [c["steps"] for c in earlier.values()])

    def same(*pair: dict[str, Any]) -> bool:
        return is_prefix(*sorted(pair, key=lambda chain: int(chain["steps"])))

    return {
        name: {
            "training_ids": chain,
            "same_ids_as": {o: same(chain, c) for o, c in (ours | earlier).items() if o != name},
        }
        for name, chain in ours.items()
    }


def proof_of_order(
    trainers: Sequence[Trainer], other_ends: Sequence[int] = ()
) -> dict[str, dict[str, object]]:
    """By arm, the hash chain of what it read, with the value at the end of every other arm.

    These are replayed from the order, which must also give the arm's own last value; then
    `is_prefix` decides from two records. other_ends: of arms of an earlier process.
    """
    proofs = {}
    ends = [*(trainer.chain.steps for trainer in trainers), *other_ends]
    for trainer in trainers:
        chain, before = trainer.chain, [end for end in ends if end <= trainer.chain.steps]
        values = replay(trainer.order, trainer.store.ids, before)
        if values[chain.steps] != chain.value:
            raise ValueError(f"{trainer.name} did not read what its order says")
        marks = chain.marks | {str(step): value for step, value in values.items() if step}
        ordered = {step: marks[step] for step in sorted(marks, key=int)}
        proofs[trainer.name] = asdict(chain) | {"marks": ordered}
    return proofs


def replay(order: Order, ids: Sequence[str], steps: Sequence[int]) -> dict[int, str]:
    """Chain values after each of `steps`, computed from the order alone.

    A run whose own last value is among them has provably read what the order says, so it can show
    its value at the end of a shorter one.
    """
    chain, values = Chain(), {0: Chain().value}
    for step in range(max(steps, default=0)):
        rows, captions = order.step(step)
        chain.update([ids[row] for row in rows], captions.tolist())
        if chain.steps in steps:
            values[chain.steps] = chain.value
    return values


def is_prefix(shorter: Mapping, longer: Mapping) -> bool:
    """Whether the run with record `shorter` read the beginning of what `longer` read.

    Both are chains as dictionaries; `longer` must hold the value at `shorter`'s last step, as a
    mark or as its own end. False when it does not: not shown is not proved.
    """
    known = {**longer["marks"], str(longer["steps"]): longer["value"]}
    common = set(shorter["marks"]) & set(known)
    agree = all(shorter["marks"][step] == known[step] for step in common)
    return agree and known.get(str(shorter["steps"])) == shorter["value"]
