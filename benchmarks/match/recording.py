"""From a scored row to its record: nothing is computed here that a score depends on."""

from __future__ import annotations

import platform
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.score import Scored
from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.records.keys import Fields
from crossflow.budget import MEMORY, Spent

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.match.sampling import Result
    from crossflow.method import Method
    from crossflow.store import Store
    from crossflow.train import Trainer

# Libraries that decide numbers.
LIBRARIES = ("torch", "numpy", "torch-fidelity", "pycocoevalcap", "scikit-image", "scipy")
CONVENTION = (
    "matrix products, convolutions and attention, a multiply-add is 2; forward and backward; "
    "source encoder and all charges included, frozen codecs not"
)
STATISTICS_ITEMS = 256  # validation items behind the record's `source`
STATISTICS_BATCH = 64


def of_bound(match: Match, name: str, scored: Scored) -> records.Record:
    """The record of the floor or the oracle: scores without a budget, never ranked."""
    ledgers = {f"prepare: {k}": float(s) for k, s in match.prepared.seconds.items()}
    return _record(match, name, scored, {}, {"ledgers": ledgers})


def of_arm(
    match: Match, name: str, trainer: Trainer | None, result: Result | None
) -> records.Record:
    """The record of an arm: its scores, or how it failed. trainer: None where none was built."""
    from benchmarks.match.device import peak_memory, utilisation

    given, budget, spent = match.config.arm.get(name), match.config.budget, Spent()
    proof, volatile, parts = Fields(), Fields(), Fields()
    if result is None:
        failure = match.failures[name]
        volatile["error"] = f"{type(failure).__name__}: {failure}"
    if trainer is not None:
        arm, spent, device = trainer.arm, trainer.spent, trainer.device
        seconds, precision = spent.device_seconds, trainer.training.precision
        use = utilisation(spent.flops, seconds, device, precision)
        volatile |= {
            "device_seconds": seconds,
            "throughput": spent.samples / seconds if seconds else None,
            "utilisation": use["mfu"],
            "peak_memory": peak_memory(device),
            "ledgers": trainer.clock.state(),
            "host": {"clock": trainer.throughput.verdict, "utilisation_reason": use["reason"]},
        }
        proof = {
            **match.proofs.get(name, {}),
            "training_data": match.prepared.train.digest,
            "params_ratio_to_crossflow": arm.params_ratio,
            "evaluation_flops_ratio_to_crossflow": arm.flops_ratio,
            **({"lr_trials": match.tried[name]} if name in match.tried else {}),
            "guidance_trials": [trial.guidance for trial in result.trials] if result else [],
            "weights": "average at the end of the budget; no checkpoint was chosen",
        }
        if given:  # all options that the arm had, not those given alone
            options = match.config.arm | {name: {**given, **arm.options}}
            parts["config"] = records.recorded_config(match.config) | {"arm": options}
    if result is not None:
        parts["model"] = _model(match, result)
        method, rows = result.arm.method, match.prepared.validation
        parts["source"] = source_statistics(method, rows, match.config.seed, match.device)
    parts["budget"] = records.Budget(
        kind=budget.kind,  # type: ignore[arg-type]  # one of the four
        limit=budget.limit,
        steps=int(spent.steps),
        samples=int(spent.samples),
        train_flops=float(spent.flops),
        convention=CONVENTION,
    )
    scored, fair = result.scored if result else Scored({}), fair_fields(match)
    fair["rules"] |= trainer.arm.method.apart if trainer is not None else {}
    return _record(match, name, scored, proof, volatile, fair=fair, **parts)


def _record(
    match: Match, name: str, scored: Scored, proof: Fields, volatile: Fields, **fields: Any
) -> records.Record:
    """A row of the match. Of a crawl, which is no published split, each row names the data."""
    prepared, crawled, config = match.prepared, match.task.crawled(), match.config
    common: Fields = {"absent": match.absent, "frozen": prepared.frozen}
    common |= {"training": crawled, "training_data": prepared.train.digest} if crawled else {}
    here = about_this_process("run", {"out": config.out, "work": config.work})
    host = {"name": socket.gethostname(), "platform": platform.platform()}
    volatile["host"] = host | volatile.get("host", {})
    named: Fields = {"run_id": match.ids[name], "match": match.name, "method": name}
    named |= {"kind": "run", "config": records.recorded_config(config)}
    volatile = here | machine(match.device) | volatile
    return make(match.score, scored, common | proof, volatile, **(named | fields))


def make(
    score: Fields, scored: Scored, proof: Fields, volatile: Fields, **fields: Any
) -> records.Record:
    """A record by what it is made from, and its own `fields`."""
    fair, proof = fields.pop("fair", None), proof | {"counts": scored.counts}
    return records.Record(
        task=score["task"],
        status="failed" if "error" in volatile else "completed",
        score_key=keys.digest(score),
        fair_key=None if fair is None else keys.digest(fair),
        fair=records.Fair(score=score, fair=fair, proof=proof),
        scores=scored.scores,
        unavailable=scored.unavailable,
        volatile=records.Volatile(**volatile),
        **({"model": None, "budget": None, "source": None} | fields),
    )


def _model(match: Match, result: Result) -> records.Model:
    from crossflow.solver import Grid

    arm, nfe, passes = result.arm, result.nfe, 1 + match.config.task.flip_test
    grid = Grid(match.config.sampling.steps, match.config.sampling.solver)
    size = {"mlp_hidden" if name == "hidden" else name: n for name, n in asdict(arm.size).items()}
    return records.Model(
        size=match.config.model,
        params=arm.cost.params_inference,
        params_encoder=arm.cost.params_encoder,
        evaluation_flops=float(arm.cost.flops_eval),
        sample_flops=float(passes * arm.flops_sample(nfe // passes)),
        # With one step or a one-pass method the solver's name would claim what did not happen.
        solver=arm.method.solver_name(grid) if nfe > passes else None,
        nfe=nfe,
        guidance=float(result.guidance) if arm.method.guided else None,
        network=size | {"params_trained": arm.cost.params_trained} | arm.laws,
    )


def fair_fields(match: Match) -> Fields:
    """What the fair_key of every trained arm of the match is the digest of."""
    from crossflow.solver import STAGES

    config, sampling, guidance = match.config, match.config.sampling, match.config.sampling.guidance
    free = "batch", "precision", "checkpoint_seconds"  # fields of their own, or without effect
    training = {k: v for k, v in asdict(config.training).items() if k not in free}
    for name, off in MEMORY.items():
        if config.budget.kind != "device_seconds" or training[name] == off:  # costs time alone
            del training[name]
    tried: Fields = next(iter(match.tried.values()), {"scores": {}})  # alike for all arms
    trials = {k: v for k, v in tried.items() if k != "scores"} | {"lr": sorted(tried["scores"])}
    return keys.fair_fields(
        match.score,
        budget_kind=config.budget.kind,
        budget_limit=config.budget.limit,
        model=config.model,
        batch=config.training.batch,
        precision=config.training.precision,
        track=config.track,
        codecs={name: str(facts["sha256"]) for name, facts in match.prepared.frozen.items()},
        trials=len(tried["scores"]),
        # Both branches, twice with the flip test; 0 for the adaptive solver, which has no limit.
        largest_nfe=(1 + config.task.flip_test)
        * 2
        * sampling.steps
        * STAGES.get(sampling.solver, 0),
        null_rate=match.prepared.problem.null_rate,
        draws=1,
        ema=f"power function, relative width {config.training.ema_width:g}",
        rules={
            "training_data": match.prepared.train.digest,
            "training": training,
            "solver": sampling.solver,
            "guidance": "best of a grid on validation" if guidance is None else guidance,
            "quick": config.quick,
            **({"lr_trials": trials} if match.tried else {}),
            # Younger than the first records, which were sampled in fp32 whatever trained them.
            **({} if sampling.precision == "fp32" else {"sampling_precision": sampling.precision}),
        },
        **(machine(match.device) if config.budget.kind == "device_seconds" else {}),
    )


def source_statistics(
    method: Method, store: Store, seed: int = 0, device: str = "cpu"
) -> records.Source | None:
    """What x0 is over the first rows of a store; None of one row, and of what is no flow.

    Averaged over items and dimensions: sigma_mean, the standard deviation of x0 given its source
    (near 1, with a mean near 0, it is noise); mu_std, the deviation over items of the mean of x0
    (root mean square over dimensions); kl_per_dimension, nats to N(0, 1), None where x0 is its mean
    exactly (infinite); transport, E|x1 - x0|^2.
    """
    import torch

    from crossflow.crossflow import kl_per_dimension
    from crossflow.draws import ItemDraws

    means, logvars, distances, count = [], [], [], min(STATISTICS_ITEMS, len(store))
    if count < 2:
        return None
    with torch.no_grad():
        for start in range(0, count, STATISTICS_BATCH):
            rows = range(start, min(start + STATISTICS_BATCH, count))
            pair = store.pairs(list(rows)).to(device)
            if (moments := method.source_moments(pair.source)) is None:
                return None
            mean, logvar = moments
            x0 = method.sample_ends(pair.source, ItemDraws(seed, rows)).x0
            means.append(mean)
            logvars += [] if logvar is None else [logvar]
            distances.append((pair.target - x0).square().flatten(1).mean(1))
    mean, logvar = torch.cat(means), torch.cat(logvars) if logvars else None
    return records.Source(
        sigma_mean=0.0 if logvar is None else torch.exp(0.5 * logvar).mean().item(),
        mu_std=mean.var(0).mean().sqrt().item(),
        kl_per_dimension=None if logvar is None else kl_per_dimension(mean, logvar).item(),
        transport=torch.cat(distances).mean().item(),
    )


def about_this_process(command: str, paths: dict[str, str]) -> Fields:
    """When, by which command and from what code a record was made."""
    folder, describe = shlex.quote(str(Path(__file__).parent)), "describe --always --dirty"
    status, commit = subprocess.getstatusoutput(f"git -C {folder} {describe} --abbrev=12")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": None if status else commit,  # of the checkout that holds this package
        "command": shlex.join(["python", "-m", f"benchmarks.{command}", *sys.argv[1:]]),
        "versions": {name: metadata.version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
        "paths": paths,
    }


def machine(device: str) -> Fields:
    """What a second buys, and on what bits depend: the GPU or the processor's model, threads."""
    import torch

    from crossflow import world

    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
        model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        name = model[1].strip() if model else platform.processor() or platform.machine()
    return {"device": name, "devices": world.size(), "threads": torch.get_num_threads()}
