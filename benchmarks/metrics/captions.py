"""Caption scores by pycocoevalcap: BLEU, METEOR, ROUGE-L, CIDEr; SPICE if its jars are given.

The library's own entry point builds SPICE before anything is scored, and SPICE downloads; so the
scorers are listed here. Captions are tokenised once, and the scorers run side by side: METEOR and
SPICE are Java programs, the others get a process each. METEOR starts before the tokeniser, because
it loads its paraphrase table for longer than all the others work.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from benchmarks.metrics import captions_worker, spice
from benchmarks.metrics.captions_java import (
    MetricUnavailableError,
    StartedMeteor,
    clean_caption,
    started_meteor,
    tokenise,
)
from benchmarks.metrics.captions_worker import SCORERS, family_scores
from benchmarks.metrics.java import find_java
from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError

Key = TypeVar("Key", bound=Hashable)

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
NAMES = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
# Sentences from which processes pay: below, all scorers together take less than a start.
PARALLEL_FROM = 2000
WORKER_SECONDS = 600.0  # guards against a hang, as for the Java programs
WORKER_SECONDS_PER_ITEM = 0.1


def caption_scores(
    predictions: Mapping[Key, str],
    references: Mapping[Key, Sequence[str]],
    *,
    tokenised: bool = False,
    spice_jars: str | None = None,
    spice_cache: Path | None = None,
) -> Scored:
    """`bleu1`-`bleu4`, `meteor`, `rouge_l`, `cider`, `spice` of one caption an item.

    Both mappings have the same keys; all references of an item are used. `tokenised` takes captions
    that went through the PTB tokeniser already (published reference files) as they are. CIDEr's
    document frequencies come from these references, so a score holds for this set of items alone.
    BLEU and METEOR are corpus scores and have no stderr; their item columns are per-item scores.
    spice_jars: folder of the CoreNLP jars (`weights.spice`), None: SPICE is unavailable.
    spice_cache: where SPICE keeps parses of references. Raises InputError for an empty set, missing
    or unknown keys, an item without reference or a folder without the jars.
    """
    keys = _checked_keys(predictions, references)
    if spice_jars is not None:
        spice.find_jars(spice_jars)  # before anything is computed
    java, found = find_java()
    if java is None and not tokenised:
        return _unscored(found, spice_jars)
    sentences = [predictions[key] for key in keys]
    sentences += [sentence for key in keys for sentence in references[key]]
    with ExitStack() as stack:
        meteor: StartedMeteor | str = found
        if java is not None:
            try:
                meteor = stack.enter_context(started_meteor(java, len(keys)))
            except MetricUnavailableError as error:
                meteor = str(error)
        try:
            if java is None or tokenised:
                tokens = [clean_caption(s) for s in sentences]
            else:
                tokens = tokenise(sentences, java)
        except MetricUnavailableError as error:
            return _unscored(str(error), spice_jars)
        result, rest = tokens[: len(keys)], iter(tokens[len(keys) :])
        truth = [[next(rest) for _ in references[key]] for key in keys]
        scored = _side_by_side(truth, result, meteor, java, spice_jars, spice_cache)
    scored.items = {"id": [str(key) for key in keys], **scored.items}
    if java is None and spice_jars is not None:
        scored.unavailable["spice"] = found
    return scored


def _unscored(reason: str, spice_jars: str | None) -> Scored:
    """All scores unavailable for one reason; SPICE for its own where its jars are not given."""
    of_spice = spice.REASON if spice_jars is None else reason
    return Scored({}, unavailable={**dict.fromkeys(NAMES, reason), "spice": of_spice})


def _checked_keys(
    predictions: Mapping[Key, str], references: Mapping[Key, Sequence[str]]
) -> list[Key]:
    if not predictions:
        raise InputError("no captions to score: the list of predictions is empty")
    missing = [key for key in references if key not in predictions]
    unknown = [key for key in predictions if key not in references]
    for what, keys in (("have no prediction", missing), ("are predicted but unknown", unknown)):
        if keys:
            first = ", ".join(map(str, keys[:5]))
            raise InputError(f"{len(keys)} items {what}, the first of them {first}")
    bare = [key for key, sentences in references.items() if not sentences]
    if bare:
        raise InputError(f"{len(bare)} items have no reference caption, the first is {bare[0]}")
    return list(references)


def _side_by_side(
    truth: list[list[str]],
    result: list[str],
    meteor: StartedMeteor | str,
    java: str | None,
    spice_jars: str | None,
    spice_cache: Path | None,
) -> Scored:
    """Scores of tokenised captions, all scorers at once; the order of the names is fixed.

    meteor: the started program, or why there is none.
    """
    n, scored = len(result), Scored({})
    family = _in_process if len(result) + sum(map(len, truth)) >= PARALLEL_FROM else family_scores
    with ThreadPoolExecutor(len(SCORERS) + 2) as pool:
        spoken: Future[list[float]] | None = None
        if spice_jars is not None and java is not None:
            spoken = pool.submit(spice.spice_scores, truth, result, java, spice_jars, spice_cache)
        paraphrased: Future[tuple[float, list[float]]] | None = None
        if not isinstance(meteor, str):
            paraphrased = pool.submit(meteor.scores, truth, result)
        counted = {name: pool.submit(family, name, truth, result) for name in SCORERS}
        totals, items = counted["bleu"].result()
        for order, (total, each) in enumerate(zip(totals, items, strict=True), start=1):
            scored.scores[f"bleu{order}"] = Score(total, None, n, "higher")
            scored.items[f"bleu{order}"] = each
        for name in ("rouge_l", "cider"):
            _, (each,) = counted[name].result()
            scored.items[name] = each
            scored.scores[name] = mean_score(each, "higher")
        if paraphrased is None:
            scored.unavailable["meteor"] = str(meteor)
        else:
            _add(scored, "meteor", lambda: _corpus(*paraphrased.result(), n))
        if spoken is None:
            scored.unavailable["spice"] = spice.REASON
        else:
            _add(scored, "spice", lambda: _mean(spoken.result()))
    return scored


def _corpus(total: float, each: list[float], n: int) -> tuple[Score, list[float]]:
    return Score(total, None, n, "higher"), each


def _mean(each: list[float]) -> tuple[Score, list[float]]:
    return mean_score(each, "higher"), each


def _add(scored: Scored, name: str, value: Callable[[], tuple[Score, list[float]]]) -> None:
    """One score with its items, or the reason why there is none."""
    try:
        scored.scores[name], scored.items[name] = value()
    except MetricUnavailableError as error:
        scored.unavailable[name] = str(error)


def _in_process(
    scorer: str, truth: list[list[str]], result: list[str]
) -> tuple[list[float], list[list[float]]]:
    """`family_scores` in a process of its own, while this one waits; the numbers are equal."""
    job = json.dumps({"scorer": scorer, "truth": truth, "result": result})
    # -P: the worker's folder has modules whose names belong to others
    run = subprocess.run(
        [sys.executable, "-P", captions_worker.__file__],
        input=job.encode(),
        capture_output=True,
        timeout=WORKER_SECONDS + WORKER_SECONDS_PER_ITEM * len(result),
        check=False,
    )
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{scorer} failed: {said[-1] if said else run.returncode}")
    answer = json.loads(run.stdout)
    return answer["totals"], answer["items"]
