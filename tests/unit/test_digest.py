import pytest

from corten.digest import InvalidDigest, digest_of, hex_of, parse_digest, short_id

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_content():
    assert digest_of(b"") == EMPTY
    assert hex_of(EMPTY) == EMPTY[7:]
    assert short_id(EMPTY) == "e3b0c44298fc"


@pytest.mark.parametrize(
    "text", ["", "abc", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32]
)
def test_refuses_what_is_no_digest(text):
    with pytest.raises(InvalidDigest):
        parse_digest(text)


def test_newline_at_the_end_is_no_digest():
    with pytest.raises(InvalidDigest):
        parse_digest(EMPTY + "\n")
