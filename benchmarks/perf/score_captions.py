"""Our caption scoring against pycocoevalcap's own scorers one after another, in one run.

Both get the same raw captions of 5,000 images, five references each, and must return the same
numbers, corpus and per item, to the last bit; the program ends with status 1 where they do not.
Images are made from the captions of a file in the COCO schema, by exchanging words between them, or
from the embedded grammar where no file is given:

    python -m benchmarks.perf.score_captions --captions captions_train2014.json

SPICE is in neither: the library's downloads its parser.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.metrics.captions import NAMES, caption_scores
from benchmarks.metrics.java import find_java
from crossflow.errors import InputError

References = dict[int, list[str]]
Results = dict[str, tuple[float, list[float]]]  # name -> corpus score, per-item scores
REFERENCES = 5


def from_file(path: Path, images: int, seed: int) -> tuple[References, dict[int, str]]:
    """Captions of `images` images: those of the file again and again, a word of each exchanged."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
        groups: dict[Any, list[str]] = {}
        for row in rows:
            groups.setdefault(row["image_id"], []).append(row["caption"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no captions in the COCO schema ({error!r})") from None
    full = [group for group in groups.values() if len(group) >= REFERENCES]
    if not full:
        raise InputError(f"{path}: no image has {REFERENCES} captions")
    generator = random.Random(seed)
    words = [word for group in full for caption in group for word in caption.split()]

    def varied(caption: str) -> str:
        parts = caption.split() or ["a"]
        parts[generator.randrange(len(parts))] = generator.choice(words)
        return " ".join(parts)

    references, hypotheses = {}, {}
    for image in range(images):
        group = full[image % len(full)]
        references[image] = [varied(caption) for caption in group[:REFERENCES]]
        hypotheses[image] = varied(varied(generator.choice(group)))
    return references, hypotheses


def from_grammar(images: int) -> tuple[References, dict[int, str]]:
    """Five captions of each training scene; the caption to score is one of the next scene."""
    from benchmarks.tabletop.captions import captions
    from benchmarks.tabletop.scenes import indices, scene

    texts = [[c.text for c in captions(scene(int(i)))] for i in indices("train", images + 1)]
    return dict(enumerate(texts[:-1])), {i: texts[i + 1][i % REFERENCES] for i in range(images)}


def library_scores(references: References, hypotheses: dict[int, str]) -> Results:
    """pycocoevalcap as its COCOEvalCap.evaluate does it (eval.py:24-60), without SPICE."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokeniser = PTBTokenizer()
    truth = tokeniser.tokenize({i: [{"caption": c} for c in cs] for i, cs in references.items()})
    result = tokeniser.tokenize({i: [{"caption": c}] for i, c in hypotheses.items()})
    scorers = (Bleu(4), "bleu"), (Meteor(), "meteor"), (Rouge(), "rouge_l"), (Cider(), "cider")
    found: Results = {}
    for scorer, name in scorers:
        quiet = {"verbose": 0} if name == "bleu" else {}
        totals, items = scorer.compute_score(truth, result, **quiet)
        if name == "bleu":
            for order, (total, each) in enumerate(zip(totals, items, strict=True), start=1):
                found[f"bleu{order}"] = total, list(each)
        else:
            found[name] = float(totals), [float(v) for v in items]
    return found


def our_scores(references: References, hypotheses: dict[int, str]) -> Results:
    """The function that scores a caption task."""
    scored = caption_scores(hypotheses, references)
    lacking = [
        f"{name} ({scored.unavailable[name]})" for name in NAMES if name not in scored.scores
    ]
    if lacking:
        raise InputError(f"not scored: {'; '.join(lacking)}")
    return {name: (scored.scores[name].value, scored.items[name]) for name in NAMES}


def timed(
    work: Callable[[References, dict[int, str]], Results], pairs: tuple[References, dict[int, str]]
) -> tuple[float, float, Results]:
    """Seconds of wall time, seconds of processor time (children that ended included), numbers."""
    start, spent = time.perf_counter(), os.times()
    found = work(*pairs)
    used = sum(os.times()[:4]) - sum(spent[:4])
    return time.perf_counter() - start, used, found


def differences(one: Results, other: Results) -> list[str]:
    """Names whose numbers differ; corpus scores that are means may differ in the last bits.

    numpy's mean of ROUGE-L and CIDEr adds pairwise, ours exactly (math.fsum): their items must be
    equal to the bit, and the means to 1e-12.
    """
    found = []
    for name in NAMES:
        (total, each), (own, items) = one[name], other[name]
        close = abs(total - own) <= (1e-12 * abs(own) if name in ("rouge_l", "cider") else 0.0)
        if not close or each != items:
            found.append(name)
    return found


def main() -> int:
    """Prints both times, the shortest of repeats taken in turn, and their ratio."""
    parser = argparse.ArgumentParser(description="Time caption scoring against pycocoevalcap.")
    parser.add_argument("--captions", type=Path, help="captions in the COCO schema")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    java, reason = find_java()
    if java is None:
        raise SystemExit(reason)
    # the library starts whatever is called java: the program that ours uses
    os.environ["PATH"] = os.pathsep.join((str(Path(java).parent), os.environ.get("PATH", "")))
    try:
        pairs = (
            from_grammar(options.images)
            if options.captions is None
            else from_file(options.captions, options.images, seed=0)
        )
    except InputError as error:
        raise SystemExit(f"score_captions: error: {error}") from None
    library, ours = [], []
    for _ in range(options.repeats):
        library.append(timed(library_scores, pairs))
        ours.append(timed(our_scores, pairs))
    slow, fast = (min(one[:2] for one in several) for several in (library, ours))
    print(f"{options.images} images, {REFERENCES} references each, {os.cpu_count()} CPUs")
    for name, (wall, used) in (("one after another", slow), ("side by side", fast)):
        print(f"{name:18s} {wall:7.2f} s, {used:6.2f} s of processors")
    print(f"ratio              {fast[0] / slow[0]:7.2f}")
    if hasattr(os, "getloadavg"):  # a busy machine hides what side by side gains
        print(f"load of the machine, others included: {os.getloadavg()[0]:.1f}")
    different = differences(library[0][2], ours[0][2])
    print(f"numbers that differ: {', '.join(different) or 'none'}")
    for name, (total, _) in ours[0][2].items():
        print(f"  {name:8s} {total:.12f}")
    return int(bool(different))


if __name__ == "__main__":
    raise SystemExit(main())
