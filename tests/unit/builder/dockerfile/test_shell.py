from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.shell import Usage, expand, expand_raw, expand_shown, expand_words

ENV = {"a": "apple", "e": "", "path": "/usr/local/lib/libz.so.1.2", "list": "80 81", "q": "it's"}

CASES = [
    ("plain", "plain"),
    ("$a", "apple"),
    ("${a}pie", "applepie"),
    ("$apie", ""),
    ("pre$a.post", "preapple.post"),
    (r"\$a", "$a"),
    (r"\\$a", r"\apple"),
    ("'$a'", "$a"),
    ('"$a b"', "apple b"),
    (r'"\$a"', "$a"),
    (r'"\a"', r"\a"),
    (r'"\\"', "\\"),
    (r"\a", "a"),
    ("it''s", "its"),
    ("$", "$"),
    ("$ x", "$ x"),
    ("a$'b'", "a$b"),
    ("$q", "it's"),
    ("${none-word}", "word"),
    ("${e-word}", ""),
    ("${e:-word}", "word"),
    ("${none:-$a}", "apple"),
    ("${none:-${other:-deep}}", "deep"),
    ("${none:-'$a'}", "$a"),
    ("${a+yes}", "yes"),
    ("${e+yes}", "yes"),
    ("${e:+yes}", ""),
    ("${none+yes}", ""),
    ("${path#/*/}", "local/lib/libz.so.1.2"),
    ("${path##*/}", "libz.so.1.2"),
    ("${path%.*}", "/usr/local/lib/libz.so.1"),
    ("${path%%.*}", "/usr/local/lib/libz"),
    ("${path#nothing}", "/usr/local/lib/libz.so.1.2"),
    ("${path/l/L}", "/usr/Local/lib/libz.so.1.2"),
    ("${path//l/L}", "/usr/LocaL/Lib/Libz.so.1.2"),
    (r"${path//\//-}", "-usr-local-lib-libz.so.1.2"),
    ("${path//?ib/X}", "/usr/local/X/Xz.so.1.2"),
    ("${a/p*/}", "a"),
    ("${none/x/y}", ""),
    (r"${none:-\}}", "}"),
    ("$1x", "x"),
    ("$01x", "x"),
    ("$\u00e4-", "-"),
    ("${a/p/-$}", "a-$ple"),
    ("$@x", "x"),
]


@pytest.mark.parametrize(("word", "value"), CASES)
def test_substitution(word: str, value: str) -> None:
    assert expand(word, ENV) == value


ERRORS = [
    ("${none:?}", "none: is not allowed to be unset"),
    ("${e:?}", "e: is not allowed to be empty"),
    ("${none?say $a}", "none: say apple"),
    ("${a", "syntax error: missing '}'"),
    ("${a:-x", "syntax error: missing '}'"),
    ("${a//p}", "syntax error: missing '/' in ${}"),
    ("${", "syntax error: missing '}'"),
    ("${}", "syntax error: bad substitution"),
    ("${a:=x}", "unsupported modifier (:=) in substitution"),
    ("${a^}", "unsupported modifier (^) in substitution"),
    ("'open", "unexpected end of statement while looking for matching single-quote"),
    ('"open', "unexpected end of statement while looking for matching double-quote"),
]


@pytest.mark.parametrize(("word", "message"), ERRORS)
def test_what_cannot_be_substituted_says_why(word: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(word, ENV)
    quoted = word.replace('"', '\\"')
    assert str(caught.value) == f'failed to process "{quoted}": {message}'


def test_set_but_empty_passes_a_check_for_being_set() -> None:
    assert expand("${e?msg}", ENV) == ""


def test_words_are_cut_at_blanks_of_variables_but_not_of_quotes() -> None:
    assert expand_words("$list '82 83' \"$list\"", ENV) == ["80", "81", "82 83", "80 81"]
    assert expand_words("$none", ENV) == []
    assert expand_words("'' \"$none\" ''x", ENV) == ["x"]


def test_heredoc_bodies_keep_their_quotes_and_lose_backslashes() -> None:
    """As dockerd 26.1.5 has it."""
    assert (
        expand_raw("say \"$a\" '$a' \\$a \\n \\\\ \\\n`$a", ENV) == "say \"apple\" 'apple' $a n \\ \n`apple"
    )


def test_what_is_shown_keeps_quotes_and_what_has_no_value() -> None:
    """As dockerd 26.1.5 shows it."""
    text = r"""echo $a ${a:-d} "$e" $UNSET ${UNSET:-d} '$a' \$a "\$a" "a\n" a\nb "'$a'" """
    shown = r"""echo apple apple "" $UNSET ${UNSET:-d} '$a' $a "$a" "a\n" anb "'apple'" """
    assert expand_shown(text, ENV) == shown


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand(r"C:\dir\`$a", ENV, "`") == r"C:\dir\$a"


def test_usage_tells_what_was_looked_up() -> None:
    usage = Usage()
    expand("$a ${b:-x}", ENV, usage=usage)
    assert (usage.matched, usage.unmatched) == ({"a"}, {"b"})


@given(st.text(alphabet="${}:-+?#%/*\\'\"ab ", max_size=40), st.sampled_from(["\\", "`"]))
def test_any_text_expands_or_is_refused(text: str, escape: str) -> None:
    for function in (expand, expand_words):
        with suppress(DockerfileError):
            function(text, ENV, escape)
    with suppress(DockerfileError):
        expand_raw(text, ENV)


@given(st.text(alphabet=st.characters(exclude_characters="'", exclude_categories=["Cs"])))
def test_single_quotes_protect_everything(text: str) -> None:
    assert expand(f"'{text}'", ENV) == text
