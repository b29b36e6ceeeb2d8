import pytest

from corten.engine.containers.mountpoints import MountResolver
from corten.engine.containers.record import MountRecord
from corten.errors import InvalidParameter, NotSupported
from corten.metadata import Ledger
from corten.types.container import BindOptions, ContainerConfig, HostConfig, Mount, TmpfsOptions
from corten.volumes.store import VolumeStore

OTHER = [
    MountRecord(kind="volume", destination="/shared", source="/s", name="v", anonymous=True, copy_up=True),
    MountRecord(kind="tmpfs", destination="/t"),
]


@pytest.fixture
def resolve(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    resolver = MountResolver(VolumeStore(str(tmp_path / "volumes"), ledger, None), lambda ref: OTHER)

    def call(volumes=None, **host):
        return resolver.resolve(ContainerConfig(volumes=volumes), HostConfig(**host))

    yield call
    ledger.close()


def test_binds(resolve):
    host, named, plain = resolve(binds=["/src/:/dst/:ro,rshared", "data:/d", "/anon"])
    assert (host.kind, host.source, host.destination) == ("bind", "/src", "/dst")
    assert host.read_only and host.propagation == "rshared" and host.create_source
    assert (named.kind, named.name, named.anonymous, named.mode) == ("volume", "data", False, "z")
    assert plain.anonymous and len(plain.name) == 64 and plain.copy_up


def test_image_volumes_only_where_nothing_else_is(resolve):
    found = resolve({"/a": {}, "/b": {}}, binds=["x1:/a"])
    assert [(mount.destination, mount.anonymous) for mount in found] == [("/a", False), ("/b", True)]


def test_volumes_from_lends_but_does_not_give(resolve):
    (shared,) = resolve(volumes_from=["c1:ro"])
    assert (shared.name, shared.read_only, shared.anonymous, shared.copy_up) == ("v", True, False, False)
    assert resolve(volumes_from=["c1"], binds=["/x:/shared"])[0].source == "/x"


def test_mount_documents(resolve, tmp_path):
    bind, tmpfs = resolve(
        mounts=[
            Mount(
                type="bind", source=str(tmp_path), target="/b", bind_options=BindOptions(non_recursive=True)
            ),
            Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o1770)),
        ]
    )
    assert not bind.recursive and not bind.create_source
    assert tmpfs.data == ["size=4096", "mode=1770"]


@pytest.mark.parametrize(
    "spec",
    ["/a:/b:zz", "/a:b", "a:b:c:d", ":/b", "/a:/", "/a:/b:ro,rw", "/a:/b:ro,ro", "data:/d:rshared"],
)
def test_bad_binds(resolve, spec):
    with pytest.raises(InvalidParameter, match="invalid volume specification: '"):
        resolve(binds=[spec])


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (
            {"type": "bind", "source": "/nonexistent-x", "target": "/b"},
            "bind source path does not exist: /none",
        ),
        ({"type": "bind", "source": "rel", "target": "/b"}, "mount path must be absolute"),
        ({"type": "bind", "target": "/b"}, "field Source must not be empty"),
        ({"type": "volume"}, "field Target must not be empty"),
        ({"type": "tmpfs", "source": "/x", "target": "/b"}, "field Source must not be specified"),
        ({"type": "odd", "target": "/b"}, 'mount type unknown: "odd"'),
    ],
)
def test_bad_mounts(resolve, mount, text):
    with pytest.raises(InvalidParameter, match=text):
        resolve(mounts=[Mount(**mount)])


def test_what_is_not_there_yet_says_so(resolve):
    with pytest.raises(NotSupported):
        resolve(mounts=[Mount(type="image", source="x", target="/b")])
