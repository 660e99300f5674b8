"""From a scored row to its record: nothing is computed here that a score depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.match import host
from benchmarks.records import keys
from benchmarks.records import record as records
from crossflow.budget import Spent

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.match.sampling import Trial
    from benchmarks.metrics.score import Scored
    from crossflow.arm import Arm
    from crossflow.method import Method
    from crossflow.problem import Pair
    from crossflow.train import Trainer

CONVENTION = (
    "matrix products, convolutions and attention, a multiply-add is 2; forward and backward; "
    "source encoder and all charges included, frozen codecs not"
)
STATISTICS_ITEMS = 256  # validation items behind the record's `source`
STATISTICS_BATCH = 64


def bound(match: Match, name: str, scored: Scored) -> records.Record:
    """The record of the floor or the oracle: scores without a budget, never ranked."""
    ledgers = {f"prepare: {k}": float(s) for k, s in match.prepared.seconds.items()}
    volatile = _volatile(match) | {"ledgers": ledgers}
    return _record(match, name, scored, proof=_common_proof(match), volatile=volatile)


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
    arm, passes = trainer.arm, _passes(match)
    model = records.Model(
        size=match.config.model,
        params=arm.cost.params_inference,
        params_encoder=arm.cost.params_encoder,
        evaluation_flops=float(arm.cost.flops_eval),
        sample_flops=float(passes * arm.flops_sample(nfe // passes)),
        # With one step or a one-pass method the solver's name would claim what did not happen.
        solver=match.config.sampling.solver if nfe > passes else None,
        nfe=nfe,
        guidance=float(guidance) if arm.method.guided else None,
        network={
            "depth": arm.size.depth,
            "width": arm.size.width,
            "heads": arm.size.heads,
            "mlp_hidden": arm.size.hidden,
            "params_trained": arm.cost.params_trained,
            **arm.laws,
        },
    )
    return _record(
        match,
        trainer.name,
        scored,
        trained=True,
        proof=_proof(match, trainer, proofs) | {"guidance_trials": [t.guidance for t in trials]},
        volatile=_volatile(match) | _training_volatile(trainer),
        model=model,
        budget=_budget(match, trainer),
        source=_source(match, trainer),
        options=arm.options,
    )


def failed(
    match: Match, name: str, trainer: Trainer | None, proofs: dict[str, Any], failure: Exception
) -> records.Record:
    """The record of an arm that could not be built, trained or scored: the reason, no score."""
    from benchmarks.metrics.score import Scored

    volatile = _volatile(match) | {"error": f"{type(failure).__name__}: {failure}"}
    proof = _common_proof(match)
    if trainer is not None:
        volatile |= _training_volatile(trainer)
        proof = _proof(match, trainer, proofs) | {"guidance_trials": []}
    return _record(
        match,
        name,
        Scored({}),
        trained=True,
        proof=proof,
        volatile=volatile,
        budget=_budget(match, trainer),
        status="failed",
        options=None if trainer is None else trainer.arm.options,
    )


def _record(
    match: Match,
    name: str,
    scored: Scored,
    *,
    proof: dict[str, Any],
    volatile: dict[str, Any],
    trained: bool = False,
    options: Mapping[str, Any] | None = None,
    status: Any = "completed",
    **parts: Any,
) -> records.Record:
    fair = fair_fields(match) if trained else None
    if status == "completed":
        proof = proof | {"counts": scored.counts}
    return records.Record(
        run_id=match.ids[name],
        match=match.name,
        kind="run",
        task=match.config.task.name,
        method=name,
        status=status,
        score_key=keys.digest(match.score),
        fair_key=None if fair is None else keys.digest(fair),
        fair=records.Fair(score=match.score, fair=fair, proof=proof),
        config=_config(match, name, options or {}),
        scores=scored.scores,
        unavailable=scored.unavailable,
        volatile=records.Volatile(**volatile),
        **({"model": None, "budget": None, "source": None} | parts),
    )


def _config(match: Match, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as run; of an arm that was given options, all that it had."""
    config, given = records.recorded_config(match.config), match.config.arm.get(name)
    if given:
        config["arm"] = config["arm"] | {name: {**given, **options}}
    return config


def averaged(trainer: Trainer) -> Arm:
    """The arm with the averaged weights: what is sampled and exported."""
    from crossflow.arm import Arm

    arm = trainer.ema.module
    assert isinstance(arm, Arm)
    return arm


def proofs(trainers: Sequence[Trainer], finished: Mapping[str, records.Record]) -> dict[str, Any]:
    """By arm, the hash chain of training ids and how it relates to the other arms' chains.

    finished: records of arms that an earlier process trained; they are compared with, so that a
    match that was interrupted between two arms leaves the records of an unbroken one.
    """
    from crossflow.order import is_prefix
    from crossflow.train import proof_of_order

    earlier: dict[str, Any] = {
        name: record.fair.proof["training_ids"]
        for name, record in finished.items()
        if "training_ids" in record.fair.proof
    }
    trained = [trainer for trainer in trainers if trainer.failure is None]
    ours: dict[str, Any] = proof_of_order(trained, [c["steps"] for c in earlier.values()])
    chains = ours | earlier

    def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return is_prefix(*sorted((one, other), key=lambda chain: int(chain["steps"])))

    return {
        name: {
            "training_ids": chain,
            "same_ids_as": {o: same(chain, chains[o]) for o in chains if o != name},
        }
        for name, chain in ours.items()
    }


def fair_fields(match: Match) -> dict[str, Any]:
    """What the fair_key of every trained arm of the match is the digest of."""
    from crossflow.solver import STAGES

    config, sampling = match.config, match.config.sampling
    timed = config.budget.kind == "device_seconds"
    # Both branches; 0 for the adaptive solver, which has no limit.
    largest_nfe = _passes(match) * 2 * sampling.steps * STAGES.get(sampling.solver, 0)
    free = ("batch", "precision", "checkpoint_seconds")  # fields of their own, or without effect
    best = "best of a grid on validation"
    return keys.fair_fields(
        match.score,
        budget_kind=config.budget.kind,
        budget_limit=config.budget.limit,
        model=config.model,
        batch=config.training.batch,
        precision=config.training.precision,
        track=config.track,
        codecs={name: str(facts["sha256"]) for name, facts in match.prepared.frozen.items()},
        trials=0,
        largest_nfe=largest_nfe,
        null_rate=match.prepared.problem.null_rate,
        draws=1,
        ema=f"power function, relative width {config.training.ema_width:g}",
        rules={
            "training_data": match.prepared.train.digest,
            "training": {k: v for k, v in asdict(config.training).items() if k not in free},
            "solver": sampling.solver,
            "guidance": best if sampling.guidance is None else sampling.guidance,
            "quick": config.quick,
        },
        **(host.machine(match.device) if timed else {}),
    )


def _passes(match: Match) -> int:
    """How often a source is sampled for one prediction: twice with the flip test."""
    return 2 if match.config.task.flip_test else 1


def _common_proof(match: Match) -> dict[str, Any]:
    """What holds of all rows. Training data that are no published split are told of each."""
    prepared = match.prepared
    proof: dict[str, Any] = {"absent": match.absent, "frozen": prepared.frozen}
    if crawled := match.task.crawled():
        proof |= {"training": crawled, "training_data": prepared.train.digest}
    return proof


def _proof(match: Match, trainer: Trainer, proofs: dict[str, Any]) -> dict[str, Any]:
    return {
        **proofs.get(trainer.name, {}),
        **_common_proof(match),
        "training_data": match.prepared.train.digest,
        "params_ratio_to_crossflow": trainer.arm.params_ratio,
        "evaluation_flops_ratio_to_crossflow": trainer.arm.flops_ratio,
        "weights": "average at the end of the budget; no checkpoint was chosen",
    }


def _budget(match: Match, trainer: Trainer | None) -> records.Budget:
    spent, budget = Spent() if trainer is None else trainer.spent, match.config.budget
    return records.Budget(
        kind=budget.kind,  # type: ignore[arg-type]  # one of the four
        limit=budget.limit,
        steps=int(spent.steps),
        samples=int(spent.samples),
        train_flops=float(spent.flops),
        convention=CONVENTION,
    )


def _source(match: Match, trainer: Trainer) -> records.Source | None:
    """Statistics of x0 on validation items; none of a single item, which has no deviation."""
    store, size = match.prepared.validation, STATISTICS_BATCH
    count = min(STATISTICS_ITEMS, len(store))
    batches = (
        store.pairs(list(range(start, min(start + size, count)))).to(match.device)
        for start in range(0, count, size)
    )
    if count < 2:
        return None
    return source_statistics(averaged(trainer).method, batches, match.config.seed)


def source_statistics(method: Method, pairs: Iterable[Pair], seed: int = 0) -> records.Source:
    """What x0 is over some pairs, at most a few thousand (means are kept), on the method's device.

    "Flowing from the source" says little by itself: a draw with sigma near 1 and a mean near 0 is
    noise, and sigma 0 collapses to a mean. Averaged over items and dimensions: sigma_mean, the
    standard deviation of x0 given its source; mu_std, the deviation over items of the mean of x0
    (root mean square over dimensions): how much x0 says about its source; kl_per_dimension, nats to
    N(0, 1), None where x0 is its mean exactly (infinite); transport, E|x1 - x0|^2, what the flow
    must travel. ValueError without at least two items.
    """
    import torch

    from crossflow.crossflow import kl_per_dimension
    from crossflow.draws import ItemDraws

    means, sigmas, kls, distances, items = [], [], [], [], 0
    with torch.no_grad():
        for pair in pairs:
            mean, logvar = method.source_moments(pair.source)
            numbers = range(items, items + len(mean))
            items += len(mean)
            x0 = method.sample_ends(pair.source, ItemDraws(seed, numbers)).x0
            distances.append((pair.target - x0).square().flatten(1).mean(1))
            means.append(mean.flatten(1))
            if logvar is None:
                sigmas.append(torch.zeros(len(mean)))
            else:
                sigmas.append(torch.exp(0.5 * logvar).flatten(1).mean(1))
                kls.append(kl_per_dimension(mean, logvar) * len(mean))
    if items < 2:
        raise ValueError("source statistics need at least two items")
    return records.Source(
        sigma_mean=torch.cat(sigmas).mean().item(),
        mu_std=torch.cat(means).var(0).mean().sqrt().item(),
        kl_per_dimension=torch.stack(kls).sum().item() / items if kls else None,
        transport=torch.cat(distances).mean().item(),
    )


def _training_volatile(trainer: Trainer) -> dict[str, Any]:
    from crossflow.clock import WINDOW_SECONDS

    seen = trainer.volatile()
    seconds = seen["device_seconds"]
    return {
        "device_seconds": float(seconds),
        "throughput": trainer.spent.samples / seconds if seconds else None,
        "utilisation": seen["utilisation"]["mfu"],
        "peak_memory": int(seen["peak_memory"]),
        "ledgers": {name: float(value) for name, value in seen["ledgers"].items()},
        "host": host.description()
        | {
            "clock": seen["throughput"]["verdict"],
            "throughput_windows": seen["throughput"]["windows"],
            "window_seconds": WINDOW_SECONDS,
            "flops_per_second": seen["utilisation"]["flops_per_second"],
            "utilisation_reason": seen["utilisation"]["reason"],
        },
    }


def _volatile(match: Match) -> dict[str, Any]:
    paths = {"out": match.config.out, "work": match.config.work}
    machine = host.machine(match.device) | {"host": host.description()}
    return host.about_this_process("run", paths) | machine
