"""`commit --change` and `import --change`."""

import pytest

from corten.engine.imagechanges import config_of_changes
from corten.errors import InvalidParameter


def test_changes_are_made_in_order():
    config = config_of_changes(
        ["ENV A=1\nWORKDIR /a", "workdir b", "CMD x y", 'ENTRYPOINT ["/e"]', "ONBUILD RUN z"]
    )
    assert (config.env, config.working_dir, config.entrypoint) == (["A=1"], "/a/b", ["/e"])
    assert config.on_build == ["RUN z"]


def test_without_changes_nothing_changes():
    assert config_of_changes([]) is None


@pytest.mark.parametrize("change", ["NOSUCH x", "nosuch", "RUN", "run x", "COPY a b", "FROM x", "SHELL [\"x\"]", "ARG a", "MAINTAINER x"])  # fmt: skip
def test_what_is_no_change(change):
    with pytest.raises(InvalidParameter, match=f"^{change.split()[0]} is not a valid change command$"):
        config_of_changes([change])
