"""Words of captions as numbers."""

import numpy as np

from benchmarks.data.vocabulary import FIRST, LENGTH, UNKNOWN, Vocabulary, learn, split_words


def test_words():
    assert split_words("A man's T-shirt, 2 dogs\u2019 caf\xe9!") == [
        *("a", "man's", "t", "shirt", "2", "dogs", "caf\xe9"),
    ]
    vocabulary = learn(["a dog", "a dog", "A DOG runs", "a cat"])
    assert vocabulary.words == ["a", "dog"]
    ids = vocabulary.encode(["the dog", "", "a " * 40])
    assert ids.dtype == np.int16
    assert ids[0, :3].tolist() == [UNKNOWN, FIRST + 1, 0]
    assert ids[1, :2].tolist() == [UNKNOWN, 0]  # no row is all padding
    assert (ids[2] == FIRST).all()
    assert ids.shape == (3, LENGTH)
    assert vocabulary.decode(ids[0].astype(np.int64)) == "dog"
    other = Vocabulary(("a", "cat"))
    assert vocabulary.facts()["sha256"] != other.facts()["sha256"]
