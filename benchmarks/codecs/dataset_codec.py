"""The caption codec of a real data set: trained once, kept under `work`, shared by all arms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.splits import Report, digest
from benchmarks.data.vocabulary import LENGTH, UNKNOWN, Vocabulary
from crossflow.files import published

if TYPE_CHECKING:
    from benchmarks.codecs.caption_codec import CaptionCodec
    from crossflow.problem import MapShape

HIDDEN, BATCH, SEED = 128, 64, 0
# Steps: so many passes over the training captions, within limits.
PASSES, LEAST_STEPS, MOST_STEPS = 20, 2000, 30_000


def codec_steps(captions: int) -> int:
    """Training steps for so many captions."""
    return min(MOST_STEPS, max(LEAST_STEPS, PASSES * captions // BATCH))


def dataset_codec(
    folder: Path,
    shape: MapShape,
    words: Vocabulary,
    train: Sequence[str],
    held_out: Sequence[str],
    device: str,
    report: Report,
) -> tuple[CaptionCodec, dict[str, Any], float]:
    """The codec of these training captions, its facts for the record, the seconds it took.

    shape: of the text latent. held_out: captions on which its accuracy is measured. The seed is
    its own, so that all seeds of a match share the codec. facts: cost, accuracy on held-out
    captions (token_accuracy, caption_accuracy), the share of their words that have no id
    (unknown_tokens) and the digest of the weights.
    """
    from benchmarks.codecs import caption_codec as codecs

    sizes = codecs.CodecShape(
        len(words), LENGTH, shape.channels, shape.height, shape.width, hidden=HIDDEN
    )
    steps = codec_steps(len(train))
    made = {"steps": steps, "batch": BATCH, "seed": SEED, "vocabulary": words.facts()}
    made |= {"shape": asdict(sizes), "device": device.partition(":")[0]}
    made |= {"kl_weight": codecs.KL_WEIGHT, "latent_noise": codecs.LATENT_NOISE}
    made |= {"train": digest("\n".join(train)), "held_out": digest("\n".join(held_out))}
    where = folder / f"captions-{digest(json.dumps(made, sort_keys=True))}"
    weights, card = where / "codec.safetensors", where / "card.json"
    if not where.is_dir():
        unseen = words.encode(held_out)
        codec, cost = codecs.train_codec(
            sizes,
            words.encode(train),
            unseen,
            steps=steps,
            batch=BATCH,
            seed=SEED,
            device=device,
            report=lambda done, total, _: report("caption codec: training", done, total),
        )
        unknown = float((unseen == UNKNOWN).sum() / (unseen != 0).sum())
        facts = {**asdict(cost), "unknown_tokens": unknown, "measured_on": len(held_out)}
        with published(where) as partial:
            codecs.save_codec(codec, partial / weights.name)
            (partial / card.name).write_text(json.dumps(facts))
    facts = json.loads(card.read_text())
    seconds = facts.pop("seconds")
    facts["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return codecs.load_codec(weights, device), facts, seconds
