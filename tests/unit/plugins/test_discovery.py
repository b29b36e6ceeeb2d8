import pytest

from corten.errors import InternalError
from corten.plugins.discovery import NoSuchPlugin, PluginFolders


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "etc").mkdir()
    return PluginFolders(sockets=(str(tmp_path / "run"),), specs=(str(tmp_path / "etc"),))


def test_sockets_come_before_descriptions(folders, tmp_path):
    (tmp_path / "run/a.sock").touch()
    (tmp_path / "run/b").mkdir()
    (tmp_path / "run/b/b.sock").touch()
    (tmp_path / "etc/a.spec").write_text("tcp://127.0.0.1:9\n")
    (tmp_path / "etc/c.spec").write_text("tcp://127.0.0.1:9\n")
    assert folders.find("a").address == f"unix://{tmp_path}/run/a.sock"
    assert folders.find("b").address == f"unix://{tmp_path}/run/b/b.sock"
    assert folders.find("c").address == "tcp://127.0.0.1:9"
    assert folders.names() == ["a", "b", "c"]


def test_json_descriptions_say_how_to_trust(folders, tmp_path):
    text = '{"Name": "store", "Addr": "https://h:1", "TLSConfig": {"CAFile": "/ca.pem"}}'
    (tmp_path / "etc/d.json").write_text(text)
    found = folders.find("d")
    assert (found.name, found.address, found.tls) == ("store", "https://h:1", {"CAFile": "/ca.pem"})


@pytest.mark.parametrize("name", ["nosuch", "../run/a", "", "a/b"])
def test_what_is_not_there(folders, name):
    with pytest.raises(NoSuchPlugin):
        folders.find(name)


@pytest.mark.parametrize(("file", "text"), [("x.spec", "file:///x"), ("x.json", "[]"), ("x.json", "{")])
def test_descriptions_that_are_none(folders, tmp_path, file, text):
    (tmp_path / "etc" / file).write_text(text)
    with pytest.raises(InternalError, match=file):
        folders.find("x")
