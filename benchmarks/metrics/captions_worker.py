"""BLEU, ROUGE-L or CIDEr of tokenised captions by pycocoevalcap; also as a process of its own.

`captions` runs this file as a program beside METEOR: stdin has {"scorer", "truth", "result"} as
JSON, stdout gets {"totals", "items"}. It imports nothing of the harness, so that it starts fast.
JSON keeps every bit of a float.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

SCORERS = ("cider", "bleu", "rouge_l")  # slowest first


def family_scores(
    scorer: str, truth: Sequence[Sequence[str]], result: Sequence[str]
) -> tuple[list[float], list[list[float]]]:
    """Corpus scores and per-item scores of one scorer: four of each for BLEU-1 to -4, else one.

    truth: references of each item; result: its caption. The corpus score of ROUGE-L and CIDEr is
    the mean of their items.
    """
    # the scorers take {number: [sentence, ...]} and keep the order of the keys
    references = {i: list(sentences) for i, sentences in enumerate(truth)}
    captions = {i: [sentence] for i, sentence in enumerate(result)}
    if scorer == "bleu":
        from pycocoevalcap.bleu.bleu import Bleu

        totals, items = Bleu(4).compute_score(references, captions, verbose=0)
        return [float(total) for total in totals], [[float(v) for v in each] for each in items]
    if scorer == "cider":
        from pycocoevalcap.cider.cider import Cider

        total, each = Cider().compute_score(references, captions)
    elif scorer == "rouge_l":
        from pycocoevalcap.rouge.rouge import Rouge

        total, each = Rouge().compute_score(references, captions)
    else:
        raise ValueError(f"{scorer}: the scorers are {', '.join(SCORERS)}")
    return [float(total)], [[float(v) for v in each]]


def main() -> None:
    """Scores what stdin gives."""
    job = json.load(sys.stdin)
    totals, items = family_scores(job["scorer"], job["truth"], job["result"])
    json.dump({"totals": totals, "items": items}, sys.stdout)


if __name__ == "__main__":
    main()
