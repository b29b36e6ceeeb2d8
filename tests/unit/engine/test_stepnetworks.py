"""Who gets the network namespace that another command of the build has had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from corten.engine import stepnetworks
from corten.engine.stepnetworks import StepNetworks


class Members:
    """Namespaces that are there (`held`), by who they were made for."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def sandbox(self, container_id: str) -> SimpleNamespace:
        self.held.add(container_id)
        return SimpleNamespace(netns_fd=container_id, close=lambda: None)

    def realise(self, endpoints: object, sandbox: object) -> None:
        pass

    def release(self, container_id: str) -> None:
        self.held.remove(container_id)


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.fixture
def networks(members: Members, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(stepnetworks, "allocate", lambda context, container: ())
    return StepNetworks(SimpleNamespace(network=SimpleNamespace(members=members)))  # type: ignore[arg-type]


def command(name: str) -> Any:
    return SimpleNamespace(id=name)


def test_one_after_another_and_beside_each_other(networks: Any, members: Members) -> None:
    with networks.lent("build", command("a")) as network:
        assert network.netns_fd == "a"
    with (
        networks.lent("build", command("b")) as again,
        networks.lent("build", command("c")) as beside,
        networks.lent("other", command("d")) as other,
    ):
        assert [again.netns_fd, beside.netns_fd, other.netns_fd] == ["a", "c", "d"]
    networks.leave("build")
    assert members.held == {"d"}


def test_what_has_not_come_to_its_end_leaves_its_namespace_to_nobody(networks: Any, members: Members) -> None:
    with pytest.raises(OSError), networks.lent("build", command("a")):
        raise OSError
    assert members.held == set()
    with networks.lent("build", command("b")) as network:
        assert network.netns_fd == "b"


def test_a_command_that_ends_after_its_build(networks: Any, members: Members) -> None:
    with networks.lent("build", command("a")):
        networks.leave("build")
        assert members.held == {"a"}
    assert members.held == set()
