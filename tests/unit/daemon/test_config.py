import json

import pytest

from corten.daemon.config import ConfigError, load, reload
from corten.daemon.instance import engine_id, kernel_names, lock_root, remove_pidfile, write_pidfile
from corten.daemon.listeners import parse_address, plan, socket_group
from corten.errors import Unavailable


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "daemon.json"

    def write(document):
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write


def test_defaults():
    config = load([])
    assert (config.root, config.exec_root) == ("/var/lib/corten", "/run/corten")
    assert config.hosts == ["unix:///run/corten/corten.sock"]
    assert config.flag("live-restore", default=True)


def test_flags():
    config = load(["--root", "/r", "-H", "tcp://:1", "-H", "fd://", "-D", "--icc=false", "--log-opt", "a=b"])
    assert (config.root, config.hosts, config.flag("debug")) == ("/r", ["tcp://:1", "fd://"], True)
    assert config.network == {"icc": False}
    assert config.mapping("log-opts") == {"a": "b"}


def test_file(file):
    config = load(["--config-file", file({"data-root": "/r", "bip": "10.0.0.1/24", "storage-driver": "x"})])
    assert (config.root, config.network) == ("/r", {"bip": "10.0.0.1/24"})


@pytest.mark.parametrize(
    ("document", "arguments", "text"),
    [
        ({"colour": 1}, [], "the following directives don't match any configuration option: colour"),
        (
            {"debug": False},
            ["--debug"],
            r"both as a flag and in the configuration file: debug: \(from flag: true, from file: false\)",
        ),
        ({"hosts": "unix://x"}, [], "hosts must be a list of strings"),
        ({"mtu": "1400"}, [], "mtu must be a number"),
        ("[]", [], "not a JSON object"),
        ("{", [], "unable to configure the Corten daemon with file"),
    ],
)
def test_bad_files(file, document, arguments, text):
    with pytest.raises(ConfigError, match=text):
        load(["--config-file", file(document), *arguments])


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="no such file or directory"):
        load(["--config-file", str(tmp_path / "none")])


def test_reload_takes_what_can_be_reloaded(file):
    config = load(["--config-file", file({"labels": ["a=1"], "mtu": 1400})])
    file({"labels": ["a=2"], "mtu": 1500, "debug": True})
    fresh, changed = reload(config)
    assert sorted(changed) == ["debug", "labels"]
    assert (fresh.texts("labels"), fresh.number("mtu"), fresh.flag("debug")) == (["a=2"], 1400, True)
    file({})
    assert reload(fresh)[0].texts("labels") == []
    file({"nope": 1})
    with pytest.raises(ConfigError):
        reload(fresh)


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("tcp://1.2.3.4:5", "tcp", "1.2.3.4", 5),
        ("tcp://[::1]:5", "tcp", "::1", 5),
        ("tcp://:5", "tcp", "127.0.0.1", 5),
        ("tcp://1.2.3.4", "tcp", "1.2.3.4", 2375),
        ("fd://", "fd", "", 0),
        ("unix:///x", "unix", "", 0),
    ],
)
def test_addresses(text, scheme, host, port):
    address = parse_address(text, tls=False)
    assert (address.scheme, address.host, address.port) == (scheme, host, port)


def test_bad_addresses():
    for text in ("http://x", "tcp://x:y", "tcp://x:99999"):
        with pytest.raises(ConfigError, match="invalid bind address format"):
            parse_address(text, tls=False)
    with pytest.raises(ConfigError, match="group no-such-group not found"):
        socket_group("no-such-group")


def test_one_engine_for_one_root(tmp_path):
    lock_root(str(tmp_path))
    with pytest.raises(Unavailable, match="another engine is running on"):
        lock_root(str(tmp_path))


def test_pidfile(tmp_path):
    path = str(tmp_path / "pid")
    write_pidfile(path)
    write_pidfile(path)
    remove_pidfile(path)
    remove_pidfile(path)
    (tmp_path / "pid").write_text("1")
    with pytest.raises(Unavailable, match="process with PID 1 is still running"):
        write_pidfile(path)


def test_identity_stays_and_names_differ(tmp_path):
    assert engine_id(str(tmp_path)) == engine_id(str(tmp_path))
    assert kernel_names("/var/lib/corten") == ("corten0", "corten", "vc")
    bridge, table, prefix = kernel_names("/elsewhere")
    assert len(bridge) <= 15 and table != "corten" and len(prefix) <= 7


def test_tcp_without_tls_must_be_meant():
    with pytest.raises(ConfigError, match="refusing to serve tcp://127.0.0.1:2375 without TLS"):
        plan(load(["-H", "tcp://"]))
    assert plan(load(["-H", "tcp://", "--insecure-tcp"])).tls is None
    with pytest.raises(ConfigError, match="TLS needs --tlscert and --tlskey"):
        plan(load(["-H", "tcp://", "--tlsverify"]))
