"""The captions' language: words, token ids, and the way from text to statement and back.

    caption := noun phrase relation noun phrase | list of noun phrases
    list    := phrase | phrase "and" phrase | phrase ", " ... phrase "and" phrase
    phrase  := ("a" | "an") [size] [material] [colour] noun
             | ("one" ... "five") [size] [material] [colour] noun or its plural

The grammar reads a little more than the captions use (any separator, "an"), because it also reads
what a model wrote. Whatever it cannot read is None, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from jaxtyping import Int16

from benchmarks.tabletop.facts import RELATIONS, SIZES, Description, Group, Statement
from benchmarks.tabletop.scenes import COLORS, MATERIALS, MAX_SOLIDS, SHAPES

NUMBERS = ("one", "two", "three", "four", "five")
NOUNS = (*SHAPES, "object")
PAD, END = "<pad>", "<end>"
VOCABULARY: tuple[str, ...] = (
    *(PAD, END, "a", "an", *NUMBERS, "and", ","),
    *("left", "right", "of", "in", "front", "behind"),
    *(*SIZES, *MATERIALS, *COLORS, *NOUNS),
    *(f"{noun}s" for noun in NOUNS),
)
# Five plain "a <colour> <shape>" with their separators and the end token.
MAX_TOKENS = 20
_WORD_ID = {word: i for i, word in enumerate(VOCABULARY)}
# A model's "two cube" is readable; what it means is not in doubt.
_PHRASE = re.compile(
    rf"(an?|{'|'.join(NUMBERS)})"
    + "".join(rf"(?: ({'|'.join(words)}))?" for words in (SIZES, MATERIALS, COLORS))
    + rf" ({'|'.join(NOUNS)})s?"
)
_SEPARATOR = re.compile(" , and | , | and ")
_RELATION = re.compile(rf" ({'|'.join(RELATIONS)}) ")


def tokens_of(text: str) -> list[str]:
    """Splits a caption into words; a comma is a word of its own, a final stop is dropped."""
    return text.lower().replace(",", " , ").rstrip(" .").split()


def encode(text: str) -> Int16[np.ndarray, " length"]:
    """Turns a caption into MAX_TOKENS token ids: its words, the end token, padding.

    Raises ValueError for a word outside VOCABULARY and for a caption that is too long.
    """
    words = tokens_of(text)
    unknown = [word for word in words if word not in _WORD_ID or word in (PAD, END)]
    if unknown:
        raise ValueError(f"the vocabulary lacks {unknown[0]!r} (in {text!r})")
    if len(words) >= MAX_TOKENS:
        raise ValueError(f"{len(words)} words and an end token exceed {MAX_TOKENS}: {text!r}")
    ids = np.zeros(MAX_TOKENS, np.int16)
    ids[: len(words) + 1] = [_WORD_ID[word] for word in (*words, END)]
    return ids


def decode(ids: Sequence[int] | np.ndarray) -> str:
    """Turns token ids into text: up to the first end token, padding left out."""
    words = takewhile(lambda word: word != END, (VOCABULARY[int(i)] for i in ids))
    return " ".join(word for word in words if word != PAD).replace(" ,", ",")


def parse(text: str) -> Statement | None:
    """Reads a caption; None where the text is not in the language."""
    first, *linked = _RELATION.split(" ".join(tokens_of(text)))
    if not linked:
        phrases, relation = _SEPARATOR.split(first), None
    elif len(linked) == 2:
        relation, second = linked
        phrases = [first, second]
    else:
        return None
    groups = []
    for match in map(_PHRASE.fullmatch, phrases):
        if match is None:
            return None
        head, size, material, color, noun = match.groups()
        count = NUMBERS.index(head) + 1 if head in NUMBERS else None
        shape = None if noun == "object" else noun
        groups.append(Group(Description(shape, color, material, size), count))
    return Statement(tuple(groups), relation)


def say(statement: Statement) -> str:
    """Writes a statement as a caption; parse reads it back to an equal statement."""
    phrases = [_spoken(group) for group in statement.groups]
    if statement.relation is not None:
        return f"{phrases[0]} {statement.relation} {phrases[1]}"
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _spoken(group: Group) -> str:
    what = group.what
    words = [word for word in (what.size, what.material, what.color) if word is not None]
    words.append(what.shape or "object")
    if group.count is None:
        return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])
    assert 1 <= group.count <= MAX_SOLIDS
    return " ".join([NUMBERS[group.count - 1], *words]) + "s" * (group.count > 1)
