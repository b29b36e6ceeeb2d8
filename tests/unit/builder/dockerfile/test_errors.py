"""What is told to somebody who has mistyped a word."""

import itertools

from corten.builder.dockerfile.errors import MAX_SUGGESTION_DISTANCE, edit_distance, nearest


def slow_distance(a, b):
    if not a or not b:
        return len(a or b)
    same = slow_distance(a[1:], b[1:])
    if a[0] == b[0]:
        return same
    return 1 + min(same, slow_distance(a[1:], b), slow_distance(a, b[1:]))


def test_distances_are_exact_as_far_as_they_count():
    words = ["".join(word) for length in range(5) for word in itertools.product("ab", repeat=length)]
    words += ["abcab", "bcaba", "cabca"]
    for a, b in itertools.product(words, repeat=2):
        expected = min(slow_distance(a, b), MAX_SUGGESTION_DISTANCE + 1)
        assert min(edit_distance(a, b), MAX_SUGGESTION_DISTANCE + 1) == expected, (a, b)


def test_words_of_any_length_are_compared():
    """Comparing all letters with all others would take hours."""
    word = "a" * 100_000
    assert nearest(word, [word + "b"]) == word + "b"
    assert nearest(word, ["b" * 100_000, "b" + word + "bb"]) == ""
