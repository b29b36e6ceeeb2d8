"""Where the resolver sends requests: mirrors, hosts.toml, certificates, blocks."""

import pytest

from corten.errors import Forbidden, InvalidParameter
from corten.reference import parse_normalized
from corten.registry.client import RegistryHosts, RemoteRegistry
from corten.registry.client.errors import ManifestUnknown, RegistryError
from corten.types.system import AuthConfig
from imagefiles import Sample, sha256
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


def shown(endpoints):
    return [f"{e.schemes[0]}://{e.host}{e.path}" for e in endpoints]


@pytest.fixture
def configured(tmp_path):
    """configured(domain, text) -> RegistryHosts with that hosts.toml."""

    def make(domain, text):
        directory = tmp_path / domain
        directory.mkdir()
        (directory / "hosts.toml").write_text(text)
        return RegistryHosts(directories=[str(tmp_path)])

    return make


def test_without_configuration():
    hosts = RegistryHosts()
    assert shown(hosts.endpoints("docker.io", "pull")) == ["https://registry-1.docker.io/v2"]
    assert shown(hosts.endpoints("reg.invalid:5000", "push")) == ["https://reg.invalid:5000/v2"]


def test_mirrors_are_for_docker_hub_and_for_reading():
    hosts = RegistryHosts(mirrors=["http://mirror:5000/", "https://other/below"])
    origin = "https://registry-1.docker.io/v2"
    mirrors = ["http://mirror:5000/v2", "https://other/below/v2"]
    assert shown(hosts.endpoints("docker.io", "pull")) == [*mirrors, origin]
    assert shown(hosts.endpoints("docker.io", "push")) == [origin]
    assert shown(hosts.endpoints("quay.io", "pull")) == ["https://quay.io/v2"]


@pytest.mark.parametrize("url", ["mirror:5000", "ftp://x", "https://user:x@mirror", "https://mirror/?a", ""])
def test_mirrors_that_are_none(url):
    with pytest.raises(InvalidParameter, match="invalid mirror"):
        RegistryHosts(mirrors=[url])


def test_offline():
    with pytest.raises(Forbidden, match=r"cannot reach registry quay.io: the engine runs with --offline"):
        RegistryHosts(offline=True).endpoints("quay.io", "pull")


def test_hosts_toml(configured):
    hosts = configured(
        "quay.io",
        """
        server = "https://front.invalid"
        [host."http://mirror.invalid:5000"]
        capabilities = ["pull", "resolve"]
        [host."https://harbor.invalid/v2/proxy"]
        override_path = true
        skip_verify = true
        ca = "ca.pem"
        client = [["cert.pem", "key.pem"]]
        [host."https://harbor.invalid/v2/proxy".header]
        X-Key = "abc"
        [host."https://harbor.invalid/v2/proxy".rewrite]
        "^library/(.*)" = "mirrored/$1"
        """,
    )
    found = hosts.endpoints("quay.io", "pull")
    assert shown(found) == [
        "http://mirror.invalid:5000/v2",
        "https://harbor.invalid/v2/proxy",
        "https://front.invalid/v2",
    ]
    assert [e.origin for e in found] == [False, False, True]
    harbor = found[1]
    assert (harbor.tls.verify, harbor.headers) == (False, {"X-Key": "abc"})
    assert [path.rpartition("/")[2] for path in (*harbor.tls.ca, *harbor.tls.client[0])] == [
        "ca.pem",
        "cert.pem",
        "key.pem",
    ]
    assert [harbor.repository(name) for name in ("library/busybox", "other/x")] == [
        "mirrored/busybox",
        "other/x",
    ]
    assert shown(hosts.endpoints("quay.io", "push")) == ["https://harbor.invalid/v2/proxy", shown(found)[2]]


def test_blocked(configured):
    with pytest.raises(Forbidden, match=r"registry quay.io is blocked by .*/quay.io/hosts.toml"):
        configured("quay.io", "blocked = true").endpoints("quay.io", "pull")


def test_default_directory_is_for_the_rest(configured):
    hosts = configured("_default", '[host."https://all.invalid"]')
    assert shown(hosts.endpoints("quay.io", "pull")) == ["https://all.invalid/v2", "https://quay.io/v2"]


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        'host = "x"',
        '[host."ftp://x"]',
        '[host."https://u:p@x"]',
        '[host."https://x"]\ncapabilities = 5',
        '[host."https://x".rewrite]\n"(" = "x"',
        '[host."https://x"]\nclient = [["a", "b", "c"]]',
    ],
)
def test_files_that_are_wrong(configured, text):
    with pytest.raises(RegistryError, match=r"hosts\.toml"):
        configured("quay.io", text).endpoints("quay.io", "pull")


def test_certs_d(tmp_path):
    directory = tmp_path / "reg.invalid:5000"
    directory.mkdir()
    for name in ("a.crt", "me.cert", "me.key"):
        (directory / name).write_text("")
    hosts = RegistryHosts(directories=[str(tmp_path)])
    (found,) = hosts.endpoints("reg.invalid:5000", "pull")
    assert found.tls.ca == [str(directory / "a.crt")]
    assert found.tls.client == [(str(directory / "me.cert"), str(directory / "me.key"))]
    (directory / "me.key").unlink()
    with pytest.raises(RegistryError, match=r"missing key .*me.key"):
        hosts.endpoints("reg.invalid:5000", "pull")


def mirrored(tmp_path, domain, *mirrors, more=""):
    directory = tmp_path / domain
    directory.mkdir()
    (directory / "hosts.toml").write_text("".join(f'[host."http://{m.host}"]\n{more}\n' for m in mirrors))
    return RegistryHosts(directories=[str(tmp_path)])


def test_a_mirror_gets_no_credentials_and_the_registry_is_left_alone(tmp_path):
    s = Sample()
    with Registry() as mirror, Registry(auth="basic") as origin:
        mirror.add("x", "latest", s)
        hosts = mirrored(tmp_path, origin.host, mirror)
        remote = origin.closing(RemoteRegistry(parse_normalized(f"{origin.host}/x"), USER, hosts))
        assert remote.manifest("latest").digest == s.digest
        assert remote.read_blob(s.id, 10_000) == s.config
        assert origin.requests == []
        assert not any(authorization for _, _, authorization in mirror.requests)


def test_what_a_mirror_has_not_or_has_wrong_comes_from_the_registry(tmp_path):
    s = Sample()
    with Registry() as mirror, Registry() as wrong, Registry() as origin:
        origin.add("x", "latest", s)
        wrong.add("x", "latest", s)
        wrong.replace[s.id] = b"something else"
        hosts = mirrored(tmp_path, origin.host, mirror, wrong)
        remote = origin.closing(RemoteRegistry(parse_normalized(f"{origin.host}/x"), None, hosts))
        assert remote.manifest("latest").digest == s.digest
        assert remote.read_blob(s.id, 10_000) == s.config
        with pytest.raises(ManifestUnknown):
            remote.manifest("nosuch")


def test_a_mirror_with_another_path_and_other_names(tmp_path):
    s = Sample()
    with Registry() as mirror, Registry() as origin:
        mirror.add("proxied/x", "latest", s)
        directory = tmp_path / origin.host
        directory.mkdir()
        (directory / "hosts.toml").write_text(
            f'[host."http://{mirror.host}".rewrite]\n"^(.*)$" = "proxied/$1"\n'
        )
        hosts = RegistryHosts(directories=[str(tmp_path)])
        remote = origin.closing(RemoteRegistry(parse_normalized(f"{origin.host}/x"), None, hosts))
        stream = remote.blob(sha256(s.blobs[0]))
        assert bytes(stream.read()) == s.blobs[0]
        stream.close()
        assert origin.requests == []


def test_rate_limits_are_read():
    with Registry() as registry:
        registry.add("x", "latest", Sample())
        registry.headers = {"RateLimit_Limit": "100;w=21600", "RateLimit_Remaining": "76;w=21600"}
        remote = registry.closing(
            RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, RegistryHosts())
        )
        remote.manifest("latest")
        assert str(remote.rate_limit) == "76 of 100 pulls left in 6 hours"
        registry.headers = {"RateLimit_Remaining": "many"}
        remote.rate_limit = None
        remote.manifest("latest")
        assert remote.rate_limit is None


def test_login_gives_an_identity_token():
    with Registry(auth="token") as registry:
        registry.identity_token = "the-identity"
        remote = registry.closing(
            RemoteRegistry(parse_normalized(f"{registry.host}/x"), USER, RegistryHosts())
        )
        assert remote.login() == ("Login Succeeded", "the-identity")
