import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.reference import InvalidReference, parse_normalized

D = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
        ("docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("LOCALHOST/x", "LOCALHOST/x", "LOCALHOST/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("127.0.0.1:5000/a__b/c--d.e", "127.0.0.1:5000/a__b/c--d.e", "127.0.0.1:5000/a__b/c--d.e"),
        (f"busybox@{D}", f"docker.io/library/busybox@{D}", f"busybox@{D}"),
        (f"busybox:x@{D}", f"docker.io/library/busybox:x@{D}", f"busybox:x@{D}"),
    ],
)
def test_normalises_as_docker(text, full, familiar):
    ref = parse_normalized(text)
    assert str(ref) == full
    assert ref.familiar == familiar
    assert parse_normalized(familiar) == ref


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("a/B:x", "invalid reference format: repository name (a/B) must be lowercase"),
        ("a:b:c", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("busybox:ä", "invalid reference format"),
        ("../x", "invalid reference format"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 260, "repository name must not be more than 255 characters"),
        ("x@sha256:" + "a" * 40, "invalid checksum digest length"),
    ],
)
def test_refuses_with_dockers_words(text, message):
    with pytest.raises(InvalidReference) as e:
        parse_normalized(text)
    assert str(e.value) == message


def test_default_tag_only_where_nothing_is_given():
    assert parse_normalized("a").with_default_tag().tag == "latest"
    assert parse_normalized(f"a@{D}").with_default_tag().tag is None
    with pytest.raises(InvalidReference):
        parse_normalized("a").with_tag("no/good")


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text):
    try:
        ref = parse_normalized(text)
    except InvalidReference:
        return
    assert parse_normalized(str(ref)) == ref
    assert parse_normalized(ref.familiar) == ref
