import pytest

from corten.errors import InvalidParameter
from corten.platforms import Platform, best_match, host_platform, normalized, parse_platform


def test_normalises_machine_names():
    assert str(normalized("Linux", "x86_64")) == "linux/amd64"
    assert str(normalized("linux", "aarch64", "v8")) == "linux/arm64"
    assert str(normalized("linux", "arm")) == "linux/arm/v7"


def test_parses_short_forms():
    assert parse_platform("linux").architecture == host_platform().architecture
    assert parse_platform("arm64") == Platform("linux", "arm64")
    assert parse_platform("linux/arm/v6") == Platform("linux", "arm", "v6")


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "sparrow", "linux/amd 64"])
def test_refuses_nonsense(text):
    with pytest.raises(InvalidParameter):
        parse_platform(text)


def test_best_match_prefers_the_closest_variant():
    offers = [(Platform("linux", "arm", v), v) for v in ("v5", "v6", "v8")]
    assert best_match(Platform("linux", "arm", "v7"), offers) == "v6"
    assert best_match(Platform("linux", "amd64"), offers) is None
