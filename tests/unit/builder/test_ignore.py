import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.builder.ignore import IgnoreMatcher, read_ignore_file
from corten.builder.patterns import InvalidPattern, Pattern, component_regex
from corten.errors import InvalidParameter

# Pattern, path, whether the path is ignored: the examples of the reference and the odd corners.
CASES = [
    ("*/temp*", "somedir/temporary.txt", True),
    ("*/temp*", "somedir/temp", True),
    ("*/temp*", "somedir/sub/temporary.txt", False),
    ("*/*/temp*", "somedir/subdir/temporary.txt", True),
    ("temp?", "tempa", True),
    ("temp?", "temp", False),
    ("**", "any/thing", True),
    ("**/*.go", "a.go", True),
    ("**/*.go", "x/y/a.go", True),
    ("dir", "dir/below/it", True),
    ("dir", "directory", False),
    ("/dir", "dir/f", True),
    ("dir/", "dir/f", True),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**", "a/x", True),
    ("a/**", "a", True),
    ("**/node_modules", "p/node_modules/q/r", True),
    ("**/a/**/b/**", "a/b", True),
    ("**file", "x/y/file", True),
    ("**.txt", "x/y.txt", False),
    (".git", ".gitignore", False),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    (r"a\*b", "a*b", True),
    (r"a\*b", "axb", False),
    ("a*", "b/a", False),
    (".", "anything", True),
    ("x/../y", "y", True),
    ("*", "dir/file", True),
]


@pytest.mark.parametrize(("pattern", "path", "ignored"), CASES)
def test_patterns(pattern: str, path: str, ignored: bool) -> None:
    assert IgnoreMatcher(read_ignore_file(pattern)).ignores(path) is ignored


def test_the_last_match_decides() -> None:
    matcher = IgnoreMatcher(["*.md", "!README*.md", "README-secret.md"])
    assert [matcher.ignores(p) for p in ("a.md", "README.md", "README-secret.md")] == [True, False, True]


def test_something_below_an_ignored_directory_can_be_taken_back() -> None:
    matcher = IgnoreMatcher(["dir", "!dir/keep"])
    assert matcher.ignores("dir/x")
    assert not matcher.ignores("dir/keep/y")
    assert not matcher.ignores_all_below("dir")
    assert IgnoreMatcher(["dir"]).ignores_all_below("dir/sub")


def test_the_files_comments_blanks_and_slashes() -> None:
    text = "\ufeff# comment\n\n  spaced  \n/root\na//b/./c/\r\n!/back\n ! x\na\u2028b\n"
    assert read_ignore_file(text) == ["spaced", "root", "a/b/c", "!back", "!x", "a\u2028b"]


@pytest.mark.parametrize("pattern", ["[", "a[", "[]", "[^]", "[a", "[-a]", "[a-]", "a\\", "!"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(InvalidParameter):
        IgnoreMatcher([pattern])


@given(st.text(alphabet="ab*?[]^-\\!/.", max_size=30), st.text(alphabet="ab/.", max_size=30))
def test_any_pattern_matches_or_is_refused(pattern: str, path: str) -> None:
    try:
        IgnoreMatcher(read_ignore_file(pattern)).ignores(path)
    except InvalidParameter:
        pass


@given(st.text(alphabet=st.characters(exclude_characters="/*?[\\", exclude_categories=["Cs"]), min_size=1))
def test_a_literal_matches_itself_alone(name: str) -> None:
    assert component_regex(name).fullmatch(name)
    assert not component_regex(name).fullmatch(name + "x")


def test_many_stars_take_no_time() -> None:
    assert not component_regex("a*" * 50 + "b").fullmatch("a" * 2000)
    assert not Pattern("/".join(["**", "a"] * 30)).matches(["a"] * 25 + ["b"] * 200)


def test_a_star_crosses_no_slash() -> None:
    assert not Pattern("a*c").matches(["a", "c"])
    with pytest.raises(InvalidPattern):
        Pattern("a/[")
