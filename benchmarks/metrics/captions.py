"""Caption scores by pycocoevalcap: BLEU, METEOR, ROUGE-L, CIDEr; SPICE if its jars are given.

The library's own entry point builds SPICE, which downloads; so the scorers are listed here. METEOR
and SPICE are Java programs (see `java`) and run beside the others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from benchmarks.metrics.java import (
    SPICE_REASON,
    MetricUnavailableError,
    find_jars,
    find_java,
    meteor_scores,
    spice_scores,
    tokenise,
)
from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError

Key = TypeVar("Key", bound=Hashable)

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
NAMES = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
# Control characters, line and paragraph separators, lone surrogates: none belongs in a caption, and
# \r \x0b \x0c \x1c-\x1e \x85 \u2028 \u2029 or a surrogate breaks the tokeniser's line protocol.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


def clean_caption(caption: str) -> str:
    """The caption with every control character, line separator and lone surrogate made a space.

    The library's tokeniser reads one caption a line and trusts the line count: a caption with
    another line break would move every later caption to the wrong image.
    """
    if caption.isascii() and caption.isprintable():
        return caption
    return "".join(" " if unicodedata.category(c) in _NOT_TEXT else c for c in caption)


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
        find_jars(spice_jars)  # before anything is computed
    java, place = find_java()
    no_jars = {"spice": SPICE_REASON} if spice_jars is None else {}

    def nothing(reason: str) -> Scored:
        return Scored({}, unavailable=dict.fromkeys((*NAMES, "spice"), reason) | no_jars)

    sentences = [predictions[key] for key in keys]
    sentences += [sentence for key in keys for sentence in references[key]]
    tokens = [clean_caption(sentence) for sentence in sentences]
    if not tokenised:
        if java is None:
            return nothing(place)
        try:
            tokens = tokenise(tokens, java)
        except MetricUnavailableError as error:
            return nothing(f"the PTB tokeniser failed: {error}")
    result, rest = tokens[: len(keys)], iter(tokens[len(keys) :])
    truth = [[next(rest) for _ in references[key]] for key in keys]
    with ThreadPoolExecutor(2) as pool:
        running: dict[str, Future[list[float]]] = {}
        if java is not None:
            running["meteor"] = pool.submit(meteor_scores, truth, result, java)
            if spice_jars is not None:
                options = (java, spice_jars, spice_cache)
                running["spice"] = pool.submit(spice_scores, truth, result, *options)
        scored = _python_scores(truth, result)
    scored.unavailable = {n: place for n in ("meteor", "spice") if n not in running} | no_jars
    for name, program in running.items():
        try:
            items = program.result()
        except MetricUnavailableError as error:
            scored.unavailable[name] = f"{name.upper()} failed: {error}"
            continue
        total = Score(items.pop(), None, len(keys), "higher") if name == "meteor" else None
        scored.scores[name] = total or mean_score(items, "higher")
        scored.items[name] = items
    scored.items = {"id": [str(key) for key in keys], **scored.items}
    return scored


def _checked_keys(
    predictions: Mapping[Key, str], references: Mapping[Key, Sequence[str]]
) -> list[Key]:
    different = predictions.keys() ^ references.keys()
    if not predictions or different:
        raise InputError(
            f"{len(predictions)} captions for {len(references)} items: {len(different)} stand on "
            f"one side alone ({', '.join(map(str, list(different)[:5]))})"
        )
    if bare := [key for key, sentences in references.items() if not sentences]:
        raise InputError(f"{len(bare)} items have no reference caption, the first is {bare[0]}")
    return list(references)


def _python_scores(truth: list[list[str]], result: list[str]) -> Scored:
    """BLEU, ROUGE-L and CIDEr of tokenised captions."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    # the scorers take {number: [sentence, ...]} and keep the order of the keys
    references, captions = dict(enumerate(truth)), {i: [s] for i, s in enumerate(result)}
    scored = Scored({})
    totals, items = Bleu(4).compute_score(references, captions, verbose=0)
    for order, (total, each) in enumerate(zip(totals, items, strict=True), start=1):
        scored.scores[f"bleu{order}"] = Score(total, None, len(result), "higher")
        scored.items[f"bleu{order}"] = [float(value) for value in each]
    # the corpus scores of these are the means of their items
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        _, each = scorer.compute_score(references, captions)
        scored.items[name] = [float(value) for value in each]
        scored.scores[name] = mean_score(scored.items[name], "higher")
    return scored
