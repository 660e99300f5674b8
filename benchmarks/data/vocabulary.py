"""Words of captions as numbers: a vocabulary learned from the training captions.

The rule: lower case; a word is a run of letters and digits, apostrophes inside it included (the
typographic one becomes "'"); all else separates words. Words seen at least LEAST times in the
training captions have an id, the LARGEST most frequent of them (equals in alphabetical order); any
other is UNKNOWN. The first LENGTH words of a caption are kept. 0 is padding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.splits import digest

if TYPE_CHECKING:
    from jaxtyping import Int16, Int64

RULE = 1  # part of fingerprints: raised when the rule above changes
LEAST, LARGEST = 3, 10_000
LENGTH = 24  # COCO's captions have 10.5 words on average, 1 in 500 has more than 24
PADDING, UNKNOWN, FIRST = 0, 1, 2
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def split_words(text: str) -> list[str]:
    """Words of a caption by the rule of this file, none cut off."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


class Vocabulary:
    """words: that have an id, in the order of their ids from FIRST on."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.ids = {word: number for number, word in enumerate(words, start=FIRST)}

    def __len__(self) -> int:
        """Number of ids, padding and UNKNOWN included."""
        return FIRST + len(self.words)

    def encode(self, texts: Sequence[str]) -> Int16[np.ndarray, "n length"]:
        """Word ids; a caption without a word is one UNKNOWN, so that no row is all padding."""
        rows = np.zeros((len(texts), LENGTH), np.int16)
        for row, text in zip(rows, texts, strict=True):
            ids = [self.ids.get(word, UNKNOWN) for word in split_words(text)[:LENGTH]]
            row[: max(1, len(ids))] = ids or [UNKNOWN]
        return rows

    def decode(self, ids: Int64[np.ndarray, " length"]) -> str:
        """Words up to the first padding, joined by blanks; UNKNOWN is left out."""
        spoken = takewhile(lambda number: number != PADDING, ids.tolist())
        return " ".join(self.words[number - FIRST] for number in spoken if number != UNKNOWN)

    def facts(self) -> dict[str, Any]:
        """What word ids depend on, for fingerprints and records."""
        sizes = {"rule": RULE, "least": LEAST, "length": LENGTH, "size": len(self)}
        return {**sizes, "sha256": digest("\n".join(self.words))}


def learn(texts: Iterable[str]) -> Vocabulary:
    """The vocabulary of training captions."""
    counts = Counter(word for text in texts for word in split_words(text))
    seen = sorted((-count, word) for word, count in counts.items() if count >= LEAST)
    return Vocabulary([word for _, word in seen[:LARGEST]])
