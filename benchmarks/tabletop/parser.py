"""The captions' language: words, token ids, and the way from text to statement and back.

    caption := noun phrase relation noun phrase | list of noun phrases
    list    := phrase | phrase "and" phrase | phrase ", " ... phrase "and" phrase
    phrase  := ("a" | "an") [size] [material] [colour] noun
             | ("one" ... "five") [size] [material] [colour] noun or its plural

The grammar reads a little more than the captions use (any separator, "an"), because it also reads
what a model wrote. Whatever it cannot read is None, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence

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
_SINGULAR = {f"{noun}s": noun for noun in NOUNS}
_RELATION_WORDS = {relation: tuple(relation.split()) for relation in RELATIONS}


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
    words: list[str] = []
    for i in ids:
        word = VOCABULARY[int(i)]
        if word == END:
            break
        if word != PAD:
            words.append(word)
    return " ".join(words).replace(" ,", ",")


def parse(text: str) -> Statement | None:
    """Reads a caption; None where the text is not in the language."""
    words = tokens_of(text)
    place, groups, relation = 0, [], None
    while True:
        phrase = _phrase(words, place)
        if phrase is None:
            return None
        group, place = phrase
        groups.append(group)
        if place == len(words):
            break
        step = _separator(words, place)
        if step is not None:
            place = step
            continue
        linked = _relation(words, place)
        if linked is None or relation is not None or len(groups) > 1:
            return None
        relation, place = linked
    if relation is not None and len(groups) != 2:
        return None
    return Statement(tuple(groups), relation)


def _phrase(words: list[str], place: int) -> tuple[Group, int] | None:
    """Reads one noun phrase from `place`; returns its group and the place behind it."""
    if place == len(words):
        return None
    head, place = words[place], place + 1
    if head in NUMBERS:
        count: int | None = NUMBERS.index(head) + 1
    elif head in ("a", "an"):
        count = None
    else:
        return None
    adjectives: list[str | None] = []
    for choices in (SIZES, MATERIALS, COLORS):
        named = place < len(words) and words[place] in choices
        adjectives.append(words[place] if named else None)
        place += named
    if place == len(words):
        return None
    # A model's "two cube" is readable; what it means is not in doubt.
    noun = _SINGULAR.get(words[place], words[place])
    if noun not in NOUNS:
        return None
    size, material, color = adjectives
    shape = None if noun == "object" else noun
    return Group(Description(shape, color, material, size), count), place + 1


def _separator(words: list[str], place: int) -> int | None:
    """The place behind ",", "and" or ", and"; None where there is none of them."""
    start = place
    place += words[place] == ","
    place += place < len(words) and words[place] == "and"
    return place if place > start else None


def _relation(words: list[str], place: int) -> tuple[str, int] | None:
    for relation, spelled in _RELATION_WORDS.items():
        if tuple(words[place : place + len(spelled)]) == spelled:
            return relation, place + len(spelled)
    return None


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
    adjectives = [word for word in (what.size, what.material, what.color) if word is not None]
    noun = what.shape or "object"
    if group.count is not None:
        assert 1 <= group.count <= MAX_SOLIDS
        plural = "" if group.count == 1 else "s"
        return " ".join([NUMBERS[group.count - 1], *adjectives, noun + plural])
    article = "an" if (adjectives or [noun])[0][0] in "aeiou" else "a"
    return " ".join([article, *adjectives, noun])
