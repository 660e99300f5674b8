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
    from benchmarks.match.sampling import Result
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


def of_bound(match: Match, name: str, scored: Scored) -> records.Record:
    """The record of the floor or the oracle: scores without a budget, never ranked."""
    ledgers = {f"prepare: {k}": float(s) for k, s in match.prepared.seconds.items()}
    volatile = _volatile(match) | {"ledgers": ledgers}
    return _record(match, name, scored, _common_proof(match), volatile)


def of_arm(
    match: Match,
    name: str,
    trainer: Trainer | None,
    proofs: dict[str, Any],
    result: Result | Exception,
) -> records.Record:
    """The record of an arm: its scores, or why it has none. trainer: None where none was built."""
    from benchmarks.metrics.score import Scored

    proof, volatile, scored = _common_proof(match), _volatile(match), Scored({})
    spent, budget, given = Spent(), match.config.budget, match.config.arm.get(name)
    parts: dict[str, Any] = {"fair": fair_fields(match)}
    if trainer is not None:
        spent, volatile = trainer.spent, volatile | _training_volatile(trainer)
        proof |= {
            **proofs.get(name, {}),
            "training_data": match.prepared.train.digest,
            "params_ratio_to_crossflow": trainer.arm.params_ratio,
            "evaluation_flops_ratio_to_crossflow": trainer.arm.flops_ratio,
            "guidance_trials": [],
            "weights": "average at the end of the budget; no checkpoint was chosen",
        }
        if given:  # all options that the arm had, not those given alone
            parts["arms"] = match.config.arm | {name: {**given, **trainer.arm.options}}
    parts["budget"] = records.Budget(
        kind=budget.kind,  # type: ignore[arg-type]  # one of the four
        limit=budget.limit,
        steps=int(spent.steps),
        samples=int(spent.samples),
        train_flops=float(spent.flops),
        convention=CONVENTION,
    )
    if isinstance(result, Exception):
        volatile["error"] = f"{type(result).__name__}: {result}"
    elif trainer is not None:
        scored = result.scored
        proof["guidance_trials"] = [trial.guidance for trial in result.trials]
        parts |= {"model": _model(match, trainer, result), "source": _source(match, trainer)}
    return _record(match, name, scored, proof, volatile, **parts)


def _record(
    match: Match,
    name: str,
    scored: Scored,
    proof: dict[str, Any],
    volatile: dict[str, Any],
    *,
    fair: dict[str, Any] | None = None,
    arms: dict[str, Any] | None = None,
    budget: records.Budget | None = None,
    model: records.Model | None = None,
    source: records.Source | None = None,
) -> records.Record:
    failed, config = "error" in volatile, records.recorded_config(match.config)
    return records.Record(
        run_id=match.ids[name],
        match=match.name,
        kind="run",
        task=match.config.task.name,
        method=name,
        status="failed" if failed else "completed",
        score_key=keys.digest(match.score),
        fair_key=None if fair is None else keys.digest(fair),
        fair=records.Fair(
            score=match.score,
            fair=fair,
            proof=proof if failed else proof | {"counts": scored.counts},
        ),
        config=config if arms is None else config | {"arm": arms},
        scores=scored.scores,
        unavailable=scored.unavailable,
        model=model,
        budget=budget,
        source=source,
        volatile=records.Volatile(**volatile),
    )


def _model(match: Match, trainer: Trainer, result: Result) -> records.Model:
    arm, nfe, passes = trainer.arm, result.nfe, _passes(match)
    return records.Model(
        size=match.config.model,
        params=arm.cost.params_inference,
        params_encoder=arm.cost.params_encoder,
        evaluation_flops=float(arm.cost.flops_eval),
        sample_flops=float(passes * arm.flops_sample(nfe // passes)),
        # With one step or a one-pass method the solver's name would claim what did not happen.
        solver=match.config.sampling.solver if nfe > passes else None,
        nfe=nfe,
        guidance=float(result.guidance) if arm.method.guided else None,
        network={
            "depth": arm.size.depth,
            "width": arm.size.width,
            "heads": arm.size.heads,
            "mlp_hidden": arm.size.hidden,
            "params_trained": arm.cost.params_trained,
            **arm.laws,
        },
    )


def averaged(trainer: Trainer) -> Arm:
    """The arm with the averaged weights: what is sampled and exported."""
    from crossflow.arm import Arm

    arm = trainer.ema.module
    assert isinstance(arm, Arm)
    return arm


def proofs(trainers: Sequence[Trainer], finished: Mapping[str, records.Record]) -> dict[str, Any]:
    """By arm, the hash chain of training ids and how it relates to the other arms' chains.

    finished: arms that an earlier process trained. They are compared with, so that an interrupted
    match leaves the records of an unbroken one.
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

    def same(name: str, other: str) -> bool:
        pair = sorted((chains[name], chains[other]), key=lambda chain: int(chain["steps"]))
        return is_prefix(*pair)

    return {
        name: {
            "training_ids": chain,
            "same_ids_as": {o: same(name, o) for o in chains if o != name},
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
    """What holds of all rows; of a crawl, which is no published split, each row names the data."""
    prepared = match.prepared
    proof: dict[str, Any] = {"absent": match.absent, "frozen": prepared.frozen}
    if crawled := match.task.crawled():
        proof |= {"training": crawled, "training_data": prepared.train.digest}
    return proof


def _source(match: Match, trainer: Trainer) -> records.Source | None:
    """Statistics of x0 on validation items; none of a single item, which has no deviation."""
    store, size = match.prepared.validation, STATISTICS_BATCH
    rows = range(min(STATISTICS_ITEMS, len(store)))
    if len(rows) < 2:
        return None
    batches = (
        store.pairs(list(rows[start : start + size])).to(match.device) for start in rows[::size]
    )
    return source_statistics(averaged(trainer).method, batches, match.config.seed)


def source_statistics(method: Method, pairs: Iterable[Pair], seed: int = 0) -> records.Source:
    """What x0 is over some pairs, at most a few thousand (means are kept), on the method's device.

    Averaged over items and dimensions: sigma_mean, the standard deviation of x0 given its source
    (near 1, with a mean near 0, it is noise); mu_std, the deviation over items of the mean of x0
    (root mean square over dimensions); kl_per_dimension, nats to N(0, 1), None where x0 is its mean
    exactly (infinite); transport, E|x1 - x0|^2. ValueError without at least two items.
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
    from crossflow.clock import WINDOW_SECONDS, peak_memory, utilisation

    spent, precision = trainer.spent, trainer.training.precision
    use = utilisation(spent.flops, spent.device_seconds, trainer.device, precision)
    facts = {
        "clock": trainer.throughput.verdict,
        "throughput_windows": trainer.throughput.windows,
        "window_seconds": WINDOW_SECONDS,
        "flops_per_second": use["flops_per_second"],
        "utilisation_reason": use["reason"],
    }
    return {
        "device_seconds": spent.device_seconds,
        "throughput": spent.samples / spent.device_seconds if spent.device_seconds else None,
        "utilisation": use["mfu"],
        "peak_memory": peak_memory(trainer.device),
        "ledgers": trainer.clock.state(),
        "host": host.description() | facts,
    }


def _volatile(match: Match) -> dict[str, Any]:
    paths = {"out": match.config.out, "work": match.config.work}
    machine = host.machine(match.device) | {"host": host.description()}
    return host.about_this_process("run", paths) | machine
