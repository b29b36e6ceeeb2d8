import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.builder.ops.mode import parse_mode
from corten.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "before", "is_dir", "after"),
    [
        ("755", 0o600, False, 0o755),
        ("4755", 0, False, 0o4755),
        ("0", 0o777, False, 0),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("g=u", 0o640, False, 0o660),
        ("o=", 0o777, False, 0o770),
        ("u+s,g+s,+t", 0o755, True, 0o7755),
        ("u-x+w", 0o500, False, 0o600),
    ],
)
def test_modes(text: str, before: int, is_dir: bool, after: int) -> None:
    assert oct(parse_mode(text)(before, is_dir)) == oct(after)


@pytest.mark.parametrize("text", ["", "9", "88", "77777", "u", "x+r", "u+z", "u+r,", "a=rw x", "u~r"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_mode(text)


CLAUSES = st.builds(
    lambda who, op, what: who + op + what,
    st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
    st.sampled_from("+-="),
    st.sampled_from(["r", "w", "x", "X", "rw", "rwx", "u", "g", "o", ""]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(CLAUSES, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777))
def test_symbolic_modes_are_those_of_chmod(
    tmp_path_factory: pytest.TempPathFactory, text: str, mode: int
) -> None:
    path = tmp_path_factory.mktemp("mode") / "file"
    path.touch()
    path.chmod(mode)
    subprocess.run(["chmod", text, str(path)], check=True)
    assert oct(parse_mode(text)(mode, False)) == oct(path.stat().st_mode & 0o7777)
