"""From a trained and scored arm to its record: nothing is computed here that a score depends on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.match import host
from benchmarks.records import keys
from benchmarks.records import record as records

if TYPE_CHECKING:
    from benchmarks.match.match import Match
    from benchmarks.match.sampling import Trial
    from benchmarks.metrics.score import Scored
    from crossflow.arm import Arm
    from crossflow.train import Trainer

CONVENTION = (
    "matrix products, convolutions and attention, a multiply-add is 2; forward and backward; "
    "source encoder and all charges included, frozen codecs not"
)
STATISTICS_ITEMS = 256  # validation items behind the record's `source`


def framing(match: Match, name: str, scored: Scored) -> records.Record:
    """The record of the floor or the oracle: scores without a budget, never ranked."""
    proof: dict[str, Any] = {"absent": match.absent, "frozen": match.prepared.frozen}
    proof |= _crawled(match)
    return _record(
        match,
        name,
        scored=scored,
        fair=None,
        proof=proof | {"counts": scored.counts},
        volatile=_volatile(match) | {"ledgers": _prepare_ledger(match)},
    )


def proofs(trainers: Sequence[Trainer], finished: Mapping[str, records.Record]) -> dict[str, Any]:
    """By arm, the hash chain of training ids and how it relates to the other arms' chains.

    finished: records of arms that an earlier process trained; they are compared with, so that a
    match that was interrupted between two arms leaves the records of an unbroken one.
    """
    from crossflow.order import is_prefix
    from crossflow.train import proof_of_order

    earlier = {
        name: dict(record.fair.proof["training_ids"])  # type: ignore[arg-type]
        for name, record in finished.items()
        if "training_ids" in record.fair.proof
    }
    ends = [int(str(chain["steps"])) for chain in earlier.values()]
    chains: dict[str, Any] = proof_of_order(
        [trainer for trainer in trainers if trainer.failure is None], ends
    )
    ours = set(chains)
    chains |= earlier
    found: dict[str, Any] = {}
    for name, chain in chains.items():
        same = {
            other: is_prefix(*sorted((chain, theirs), key=lambda state: int(str(state["steps"]))))
            for other, theirs in chains.items()
            if other != name
        }
        if name in ours:
            found[name] = {"training_ids": chain, "same_ids_as": same}
    return found


def completed(
    match: Match,
    trainer: Trainer,
    scored: Scored,
    guidance: float,
    nfe: int,
    trials: Sequence[Trial],
    proofs: dict[str, Any],
) -> records.Record:
    """The record of an arm that was trained and scored."""
    arm, config = trainer.arm, match.config
    passes = _passes(match)
    # With one step or a one-pass method the solver's name would claim what did not happen.
    model = records.Model(
        size=config.model,
        params=arm.cost.params_inference,
        params_encoder=arm.cost.params_encoder,
        evaluation_flops=float(arm.cost.flops_eval),
        sample_flops=float(passes * arm.flops_sample(nfe // passes)),
        solver=config.sampling.solver if nfe > passes else None,
        nfe=nfe,
        guidance=float(guidance) if arm.method.guided else None,
        network={
            "depth": arm.size.depth,
            "width": arm.size.width,
            "heads": arm.size.heads,
            "mlp_hidden": arm.size.hidden,
            "params_trained": arm.cost.params_trained,
        },
    )
    return _record(
        match,
        trainer.name,
        scored=scored,
        fair=fair_fields(match),
        proof=_proof(match, trainer, trials, proofs) | {"counts": scored.counts},
        volatile=_training_volatile(match, trainer),
        model=model,
        budget=_budget(trainer),
        source=_source(match, trainer),
    )


def failed(
    match: Match, trainer: Trainer, proofs: dict[str, Any], failure: Exception
) -> records.Record:
    """The record of an arm whose training or scoring stopped: the reason, no score."""
    from benchmarks.metrics.score import Scored

    return _record(
        match,
        trainer.name,
        scored=Scored({}),
        fair=fair_fields(match),
        proof=_proof(match, trainer, [], proofs),
        volatile=_training_volatile(match, trainer)
        | {"error": f"{type(failure).__name__}: {failure}"},
        budget=_budget(trainer),
        status="failed",
    )


def averaged(trainer: Trainer) -> Arm:
    """The arm with the averaged weights: what is sampled and exported."""
    from crossflow.arm import Arm

    arm = trainer.ema.module
    assert isinstance(arm, Arm)
    return arm


def _record(
    match: Match,
    method: str,
    *,
    scored: Scored,
    fair: dict[str, Any] | None,
    proof: dict[str, Any],
    volatile: dict[str, Any],
    model: records.Model | None = None,
    budget: records.Budget | None = None,
    source: records.Source | None = None,
    status: Any = "completed",
) -> records.Record:
    score = match.score_fields
    return records.Record(
        run_id=match.ids[method],
        match=match.name,
        kind="run",
        task=match.config.task.name,
        method=method,
        status=status,
        score_key=keys.digest(score),
        fair_key=None if fair is None else keys.digest(fair),
        fair=records.Fair(score=score, fair=fair, proof=proof),
        config=records.recorded_config(match.config),
        scores=scored.scores,
        unavailable=scored.unavailable if status == "completed" else {},
        model=model,
        budget=budget,
        source=source,
        volatile=records.Volatile(**volatile),
    )


def fair_fields(match: Match) -> dict[str, Any]:
    """What the fair_key of every trained arm of the match is the digest of."""
    config, sampling = match.config, match.config.sampling
    budget = config.budget
    timed: dict[str, Any] = {}
    if budget.kind == "device_seconds":
        timed = {"device": host.device_name(match.device), "devices": 1, "threads": host.threads()}
    return keys.fair_fields(
        match.score_fields,
        budget_kind=budget.kind,
        budget_limit=budget.limit,
        model=config.model,
        batch=config.training.batch,
        precision=config.training.precision,
        track=config.track,
        codecs={name: str(facts["sha256"]) for name, facts in match.prepared.frozen.items()},
        trials=0,
        largest_nfe=_passes(match) * _largest_nfe(sampling.solver, sampling.steps),
        null_rate=match.prepared.problem.null_rate,
        draws=1,
        ema=f"power function, relative width {config.training.ema_width:g}",
        rules=_rules(match),
        **timed,
    )


def _rules(match: Match) -> dict[str, Any]:
    """What else the arms of a table must share: the data, the optimizer, how they are sampled."""
    config = match.config
    free = ("batch", "precision", "checkpoint_seconds")  # fields of their own, or without effect
    guidance = config.sampling.guidance
    return {
        "training_data": match.prepared.train.digest,
        "training": {k: v for k, v in asdict(config.training).items() if k not in free},
        "solver": config.sampling.solver,
        "guidance": "best of a grid on validation" if guidance is None else guidance,
        "quick": config.quick,
    }


def _passes(match: Match) -> int:
    """How often a source is sampled for one prediction: twice with the flip test."""
    return 1 if match.prepared.mirror is None else 2


def _largest_nfe(solver: str, steps: int) -> int:
    """Most network calls a sample may take: both branches; 0 for the adaptive solver, unlimited."""
    from crossflow.solver import STAGES

    return 2 * steps * STAGES.get(solver, 0)


def _proof(
    match: Match, trainer: Trainer, trials: Sequence[Trial], proofs: dict[str, Any]
) -> dict[str, Any]:
    arm = trainer.arm
    return {
        **proofs.get(trainer.name, {}),
        "training_data": match.prepared.train.digest,
        "params_ratio_to_crossflow": arm.params_ratio,
        "evaluation_flops_ratio_to_crossflow": arm.flops_ratio,
        "guidance_trials": [trial.guidance for trial in trials],
        "weights": "average at the end of the budget; no checkpoint was chosen",
        "absent": match.absent,
        "frozen": match.prepared.frozen,
        **_crawled(match),
    }


def _crawled(match: Match) -> dict[str, Any]:
    """Of training data that are no published split, what they are: the floor learns of them too."""
    prepared = match.prepared
    if not prepared.training:
        return {}
    return {"training": prepared.training, "training_data": prepared.train.digest}


def _budget(trainer: Trainer) -> records.Budget:
    spent = trainer.spent
    return records.Budget(
        kind=trainer.budget.kind,  # type: ignore[arg-type]  # Budget knows these four only
        limit=trainer.budget.limit,
        steps=int(spent.steps),
        samples=int(spent.samples),
        train_flops=float(spent.flops),
        convention=CONVENTION,
    )


def _source(match: Match, trainer: Trainer) -> records.Source | None:
    """Statistics of x0 on validation items; none of a single item, which has no deviation."""
    from crossflow.statistics import source_statistics

    store = match.prepared.validation
    count = min(STATISTICS_ITEMS, len(store))
    if count < 2:
        return None
    batches = (
        store.pairs(list(range(start, min(start + 64, count)))).to(match.device)
        for start in range(0, count, 64)
    )
    found = source_statistics(averaged(trainer).method, batches, match.config.seed)
    return records.Source(
        sigma_mean=found.mean_sigma,
        mu_std=found.std_mean,
        kl_per_dimension=found.kl,
        transport=found.distance,
    )


def _training_volatile(match: Match, trainer: Trainer) -> dict[str, Any]:
    from crossflow.clock import WINDOW_SECONDS

    seen = trainer.volatile()
    seconds = seen["device_seconds"]
    ledgers = {name: float(value) for name, value in seen["ledgers"].items()}
    return _volatile(match) | {
        "device_seconds": float(seconds),
        "throughput": trainer.spent.samples / seconds if seconds else None,
        "utilisation": seen["utilisation"]["mfu"],
        "peak_memory": int(seen["peak_memory"]),
        "ledgers": ledgers,
        "host": host.description()
        | {
            "clock": seen["throughput"]["verdict"],
            "throughput_windows": seen["throughput"]["windows"],
            "window_seconds": WINDOW_SECONDS,
            "flops_per_second": seen["utilisation"]["flops_per_second"],
            "utilisation_reason": seen["utilisation"]["reason"],
        },
    }


def _prepare_ledger(match: Match) -> dict[str, float]:
    return {f"prepare: {name}": float(s) for name, s in match.prepared.seconds.items()}


def _volatile(match: Match) -> dict[str, Any]:
    config = match.config
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": host.commit(),
        "command": shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]]),
        "device": host.device_name(match.device),
        "devices": 1,
        "threads": host.threads(),
        "host": host.description(),
        "versions": host.versions(),
        "paths": {"out": config.out, "work": config.work},
    }
