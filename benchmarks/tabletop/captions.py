"""The captions of a scene: their language, the five that are written, how a text is scored.

    caption := noun phrase relation noun phrase | list of noun phrases
    list    := phrase | phrase "and" phrase | phrase ", " ... phrase "and" phrase
    phrase  := ("a" | "an") [size] [material] [colour] noun
             | ("one" ... "five") [size] [material] [colour] noun or its plural

Levels: L1 one solid; L2 two solids and what belongs to which; L3 a relation, or the whole scene;
L4 underspecified (many scenes fit). A scene of one solid has only L1 and L4. By place k:

    k  two or more solids                     one solid
    0  L1 one solid, all clear words          L1 colour and shape
    1  L2 two solids and what belongs to which L1 without the colour, or with a number
    2  L3 two solids in a relation            L1 all clear words, or colour and shape counted
    3  L3 the whole scene                     L1 all clear words, counted
    4  L4 one of the vague forms              L4 one of the vague forms
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, takewhile
from random import Random

import numpy as np
from jaxtyping import Int16

from benchmarks.tabletop import facts
from benchmarks.tabletop.facts import RELATIONS, SIZES, Description, Group, Statement
from benchmarks.tabletop.scenes import COLORS, MATERIALS, SHAPES, Scene

PROTOCOL = 1  # raised by hand when a score of a given caption or picture may change
FULL = 3  # the place of the caption that names every solid
NUMBERS = ("one", "two", "three", "four", "five")
NOUNS = (*SHAPES, "object")
PAD, END = "<pad>", "<end>"
VOCABULARY: tuple[str, ...] = (
    *(PAD, END, "a", "an", *NUMBERS, "and", ","),
    *("left", "right", "of", "in", "front", "behind"),
    *(*SIZES, *MATERIALS, *COLORS, *NOUNS),
    *(f"{noun}s" for noun in NOUNS),
)
MAX_TOKENS = 20  # five plain "a <colour> <shape>" with their separators and the end token
_WORD_ID = {word: i for i, word in enumerate(VOCABULARY)}
# It also reads what a model wrote: a little more than the captions use, such as "two cube".
_PHRASE = re.compile(
    rf"(an?|{'|'.join(NUMBERS)})"
    + "".join(rf"(?: ({'|'.join(words)}))?" for words in (SIZES, MATERIALS, COLORS))
    + rf" ({'|'.join(NOUNS)})s?"
)
_SEPARATOR = re.compile(" , and | , | and ")
_RELATION = re.compile(rf" ({'|'.join(RELATIONS)}) ")
_SALT = 0x7AB1E


@dataclass(frozen=True)
class Caption:
    """A caption with its level, L1 to L4, and what it states."""

    text: str
    level: str
    statement: Statement


def tokens_of(text: str) -> list[str]:
    """The words of a caption; a comma is a word of its own, a final stop is dropped."""
    return text.lower().replace(",", " , ").rstrip(" .").split()


def encode(text: str) -> Int16[np.ndarray, " length"]:
    """A caption as MAX_TOKENS token ids: its words, the end token, padding.

    Raises KeyError for a word outside VOCABULARY, ValueError for a caption that is too long.
    """
    words = [_WORD_ID[word] for word in (*tokens_of(text), END)]
    return np.array(words + [0] * (MAX_TOKENS - len(words)), np.int16).reshape(MAX_TOKENS)


def decode(ids: Sequence[int] | np.ndarray) -> str:
    """Token ids as text: up to the first end token, padding left out."""
    words = takewhile(lambda word: word != END, (VOCABULARY[int(i)] for i in ids))
    return " ".join(word for word in words if word != PAD).replace(" ,", ",")


def parse(text: str) -> Statement | None:
    """What a caption states; None, never an exception, where the text is not in the language."""
    parts = _RELATION.split(" ".join(tokens_of(text)))
    if len(parts) > 3:
        return None
    relation = parts[1] if len(parts) == 3 else None
    phrases = parts[::2] if relation else _SEPARATOR.split(parts[0])
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
    """A statement as a caption; parse reads it back to an equal statement."""
    phrases = [_spoken(group) for group in statement.groups]
    if statement.relation is not None:
        return f" {statement.relation} ".join(phrases)
    *others, last = phrases
    return f"{', '.join(others)} and {last}" if others else last


def _spoken(group: Group) -> str:
    what = group.what
    words = [word for word in (what.size, what.material, what.color) if word is not None]
    words.append(what.shape or "object")
    if group.count is None:
        return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])
    return " ".join([NUMBERS[group.count - 1], *words]) + "s" * (group.count > 1)


def captions(scene: Scene) -> tuple[Caption, ...]:
    """The five reference captions of a scene, a function of the scene alone, all different."""
    rng = Random(scene.index * 1_000_003 + _SALT)
    clear = facts.clear_descriptions(scene)
    if len(clear) == 1:
        levels, stated = ("L1", "L1", "L1", "L1", "L4"), _of_one(clear[0], rng)
    else:
        single, whole = _named(clear[rng.randrange(len(clear))]), _whole(clear, rng)
        stated = [single, _two(clear, whole, rng), _placed(scene, clear, rng), whole]
        levels = ("L1", "L2", "L3", "L3", "L4")
    stated.append(_vague(scene, clear, stated, rng))
    return tuple(Caption(say(s), level, s) for level, s in zip(levels, stated, strict=True))


def scene_f1(text: str, scene: Scene) -> float:
    """F1 of the facts a caption states and the facts of the scene, 0..1; unreadable text is 0.

    Stated: one claim for every property of every described solid, one for each number, one for a
    relation. Described solids are matched one to one with the scene's so that most claims hold; a
    description counts only if all of it holds for one solid (binding), else none of it does.
    precision = true claims / claims. recall = clear properties of matched solids that are stated /
    all clear properties of all solids (shape, colour, and material and size where they are clear).
    """
    from scipy.optimize import linear_sum_assignment

    statement = parse(text)
    if statement is None:
        return 0.0
    truth, clear = facts.detections_of(scene), facts.clear_descriptions(scene)
    described = [g.what for g in statement.groups for _ in range(g.count or 1)]
    fits = np.array([facts.matches(what, truth) for what in described])
    claims = sum(what.words for what in described)
    gain = fits * np.array([[what.words] for what in described])
    rows, columns = linear_sum_assignment(gain, maximize=True)
    pairs = [(described[i], clear[j]) for i, j in zip(rows, columns, strict=True) if fits[i, j]]
    true = sum(what.words for what, _ in pairs)
    covered = sum(a is not None and a == b for pair in pairs for a, b in zip(*pair, strict=True))
    counted = [group for group in statement.groups if group.count is not None]
    claims += len(counted)
    true += sum(sum(facts.matches(group.what, truth)) == group.count for group in counted)
    if statement.relation is not None:
        claims += 1
        true += facts.relation_holds(statement, truth)
    if not true or not covered:
        return 0.0
    precision, recall = true / claims, covered / sum(what.words for what in clear)
    return 2 * precision * recall / (precision + recall)


def _plain(what: Description) -> Description:
    return Description(what.shape, what.color)


def _named(what: Description, count: int | None = None) -> Statement:
    return Statement((Group(what, count),))


def _one_more(what: Description, rng: Random) -> Description:
    """Colour and shape with one of the other clear words, if there is one."""
    less = [what._replace(size=None)] * bool(what.material)
    less += [what._replace(material=None)] * bool(what.size)
    return rng.choice(less) if less else _plain(what)


def _of_one(what: Description, rng: Random) -> list[Statement]:
    plain = _plain(what)
    if what.material is None:
        shape, color = Description(what.shape), Description(None, what.color)
        return [_named(plain), _named(shape, 1), _named(color, 1), _named(plain, 1)]
    bare = rng.choice([what._replace(color=None), what._replace(shape=None)])
    return [_named(plain), _named(bare), _named(what), _named(what, 1)]


def _two(clear: list[Description], whole: Statement, rng: Random) -> Statement:
    """Two solids that differ and what belongs to each; less of it where `whole` says the same."""
    pairs = [(a, b) for a in clear for b in clear if _plain(a) != _plain(b)]
    if not pairs:
        return _named(Description(None, clear[0].color), len(clear))
    first, second = rng.choice(pairs)
    groups = Group(_one_more(first, rng)), Group(_plain(second))
    if set(groups) == set(whole.groups):
        return Statement((groups[0], Group(Description(None, second.color))))
    return Statement(groups)


def _relations(scene: Scene, named: list[Description]) -> list[Statement]:
    """Solids that are named differently, in the relations they have beyond the margin."""
    seen = list(zip(named, facts.detections_of(scene), strict=True))
    return [
        Statement((Group(a), Group(b)), relation)
        for (a, first), (b, second) in permutations(seen, 2)
        for relation in RELATIONS
        if a != b and facts.related(first, second, relation, state=True)
    ]


def _placed(scene: Scene, clear: list[Description], rng: Random) -> Statement:
    """Two solids in a relation; the number of those of one shape where no place is clear."""
    if possible := _relations(scene, [_plain(what) for what in clear]):
        return rng.choice(possible)
    shape = rng.choice(clear).shape
    return _named(Description(shape), sum(what.shape == shape for what in clear))


def _whole(clear: list[Description], rng: Random) -> Statement:
    """Every solid of the scene; solids of one colour and shape are counted together."""
    groups = []
    for plain, number in Counter(map(_plain, clear)).items():
        if number == 1 and len(clear) <= 3:
            only = next(what for what in clear if _plain(what) == plain)
            groups.append(Group(_one_more(only, rng)))
        else:
            groups.append(Group(plain, number if number > 1 else None))
    rng.shuffle(groups)
    return Statement(tuple(groups))


def _vague(
    scene: Scene, clear: list[Description], taken: list[Statement], rng: Random
) -> Statement:
    """A statement that fits many scenes: numbers, shapes or colours alone."""
    shapes = Counter(Description(what.shape) for what in clear)
    colors = Counter(Description(None, what.color) for what in clear)
    forms: list[list[Statement]] = [
        [_named(Description(), len(clear))],
        [_named(what, n) for what, n in shapes.items() if n > 1],
        [_named(what, n) for what, n in colors.items() if n > 1],
        [*map(_named, shapes)],
        [*map(_named, colors)],
        [Statement((Group(a), Group(b))) for a, b in permutations(shapes, 2)],
        _relations(scene, [Description(what.shape) for what in clear]),
    ]
    fresh = [[s for s in form if s not in taken] for form in forms]
    return rng.choice(rng.choice([form for form in fresh if form]))
