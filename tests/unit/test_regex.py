import random
from pathlib import Path

import pytest

from corten.regex import InvalidRegex, Regex


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^/we", "/web"),
        ("x+", "boxx"),
        ("", "anything"),
        (r"^caf\pL$", "café"),  # Go's, which Python's re does not know
        (r"\Qa.b\E", "a.b"),
        (r"(?i)WEB\z", "my-web"),
    ],
)
def test_found(pattern, text):
    assert Regex(pattern).found_in(text)


@pytest.mark.parametrize(("pattern", "text"), [("^we", "/web"), ("a$", "a\n"), (r"^\d$", "٣")])
def test_not_found(pattern, text):
    assert not Regex(pattern).found_in(text)


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{1001}", "[z-a]", "(" * 2000, "\ud800"])
def test_what_re2_does_not_take_is_refused(pattern, capfd):
    with pytest.raises(InvalidRegex, match="^error parsing regexp: "):
        Regex(pattern)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b", "a*" * 1000 + "b", "((a?){1000})b"])
def test_no_expression_takes_for_ever(pattern):
    assert not Regex(pattern).found_in("a" * 1000 + "c")


def test_text_that_is_no_unicode_is_searched():
    assert Regex("^a.b$").found_in("a\ud800b")


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) << 12


def test_what_an_expression_takes_goes_with_it():
    text = "".join(random.Random(1).choices("ab", k=100_000))

    def search(count):
        for number in range(count):
            assert not Regex(f"(a|b)*a(a|b){{15}}c{number}").found_in(text)

    search(2)
    before = _resident()
    search(12)
    assert _resident() - before < 10 << 20
