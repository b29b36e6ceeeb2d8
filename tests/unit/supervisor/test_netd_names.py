"""Who is called what, and who may know it."""

from corten.supervisor.netd.names import Names, View, records
from corten.wire import dns


def filled() -> Names:
    names = Names()
    names.join("n1", "Mine", "e1", ["Web", "al", "0123456789ab"], b"\x0a\0\0\2", b"")
    names.join("n1", "Mine", "e2", ["db", "al"], b"\x0a\0\0\3", b"\xfd" + bytes(15))
    names.join("n2", "other", "e3", ["secret"], b"\x0b\0\0\2", b"")
    return names


def found(names: Names, view: View, wanted: str) -> list[str]:
    return [host.name for host in view.hosts(names, wanted)]


def test_names_aliases_ids_and_networks():
    names, view = filled(), View(["n1"], [])
    assert found(names, view, "web") == ["web"]
    assert found(names, view, "0123456789ab") == ["web"]
    assert found(names, view, "al") == ["web", "db"]
    assert found(names, view, "al.mine") == ["web", "db"]
    assert found(names, view, "al.other") == []
    assert view.owner(names, b"\x0a\0\0\3") == "db.mine"
    assert view.owner(names, b"\xfd" + bytes(15)) == "db.mine"


def test_other_networks_are_not_seen():
    names, view = filled(), View(["n1"], [])
    assert found(names, view, "secret") == found(names, view, "secret.other") == []
    assert view.owner(names, b"\x0b\0\0\2") == ""
    both = View(["n1", "n2"], [])
    assert found(names, both, "secret") == found(names, both, "secret.other") == ["secret"]


def test_links_are_names_for_one_container_only():
    names = filled()
    assert found(names, View(["n1"], [], links={"Backend": "DB"}), "backend") == ["db"]
    assert found(names, View(["n1"], []), "backend") == []


def test_what_has_left_is_forgotten():
    names, view = filled(), View(["n1", "n2"], [])
    before = names.version
    names.join("n1", "Mine", "e1", ["renamed"], b"\x0a\0\0\2", b"")
    assert found(names, view, "web") == []
    assert found(names, view, "al") == ["db"]
    for endpoint in ("e1", "e2", "e3", "e3"):
        names.leave(endpoint)
    assert names.networks == {}
    assert names.version > before


def test_round_robin():
    names, view = filled(), View(["n1"], [])
    hosts = view.hosts(names, "al")
    first = [data for _, _, data in records(hosts, dns.A, 1)]
    second = [data for _, _, data in records(hosts, dns.A, 2)]
    assert first == list(reversed(second))
    assert len(records(hosts, dns.AAAA, 1)) == 1


def test_a_name_twice_is_left_once():
    """A container called Web with the alias web: names have no case."""
    names, view = filled(), View(["n1"], [])
    names.join("n1", "Mine", "e4", ["Api", "api", "late"], b"\x0a\0\0\4", b"")
    assert found(names, view, "api") == ["api"]
    names.leave("e4")
    assert found(names, view, "api") == found(names, view, "late") == []
    assert view.owner(names, b"\x0a\0\0\4") == ""


def test_names_of_networks_may_have_dots():
    names = filled()
    names.join("n3", "my.net", "e5", ["web.a"], b"\x0c\0\0\2", b"")
    view = View(["n1", "n3"], [])
    assert found(names, view, "web.a.my.net") == ["web.a"]
    assert found(names, view, ".my.net") == found(names, view, "my.net") == []
