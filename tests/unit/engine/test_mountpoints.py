import asyncio

import pytest

from corten.engine.containers.mountpoints import MountResolver
from corten.engine.containers.record import MountRecord
from corten.engine.volume_manager import VolumeManager
from corten.errors import InvalidParameter, NoSuchImage, NotSupported
from corten.metadata import Ledger
from corten.plugins.discovery import PluginFolders
from corten.types.container import (
    BindOptions,
    ContainerConfig,
    HostConfig,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from corten.volumes.plugin import VolumePlugins
from corten.volumes.store import VolumeStore

OTHER = [
    MountRecord(kind="volume", destination="/shared", source="/s", name="v", anonymous=True, copy_up=True),
    MountRecord(kind="tmpfs", destination="/t"),
]


def layers_of(ref):
    if ref != "tools":
        raise NoSuchImage(ref)
    return "sha256:1", ["/layers/2", "/layers/1"]


@pytest.fixture
def resolve(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    store = VolumeStore(str(tmp_path / "volumes"), ledger, None)
    plugins = VolumePlugins(PluginFolders(sockets=(), specs=()), "/")
    resolver = MountResolver(VolumeManager(store, None, plugins), lambda ref: OTHER, layers_of)

    def call(volumes=None, **host):
        return asyncio.run(resolver.resolve(ContainerConfig(volumes=volumes), HostConfig(**host)))

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


@pytest.mark.parametrize("option", ["nosuch", "size", "nosuch=1", "exec=1", "mode=700,nosuch"])
def test_unknown_options_of_a_tmpfs(resolve, option):
    unknown = option.rpartition(",")[2]
    with pytest.raises(InvalidParameter, match=f'^invalid tmpfs option "{unknown}"$'):
        resolve(tmpfs={"/t": option})
    with pytest.raises(InvalidParameter, match=f'^invalid tmpfs option "{unknown}"$'):
        words = [unknown.split("=")]
        resolve(mounts=[Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(options=words))])


def test_options_of_a_tmpfs(resolve):
    options = "defaults,rw,exec,size=64k,mode=1777,uid=1,gid=2,nr_inodes=10,mpol=default,noatime,noswap"
    assert resolve(tmpfs={"/t": options})[0].data == options.split(",")


@pytest.mark.parametrize(
    "spec",
    ["/a:/b:zz", "/a:b", "a:b:c:d", ":/b", "/a:/", "/a:/b:ro,rw", "/a:/b:ro,ro", "data:/d:rshared"],
)
def test_bad_binds(resolve, spec):
    with pytest.raises(InvalidParameter, match="invalid (volume specification: '|mode: )"):
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
        ({"type": "volume", "target": "/b", "read_only": True}, "ReadOnly mode when using anonymous"),
        (
            {
                "type": "volume",
                "target": "/b",
                "source": "xx",
                "volume_options": VolumeOptions(subpath="../y"),
            },
            "subpath must be a relative path within the volume",
        ),
        (
            {"type": "bind", "target": "/b", "source": "/tmp", "volume_options": VolumeOptions()},
            'VolumeOptions must not be specified on mount type "bind"',
        ),
        ({"type": "image", "source": "nosuch", "target": "/b"}, "No such image: nosuch"),
        ({"type": "volume", "source": "xx", "target": "/./"}, "destination can't be '/'"),
    ],
)
def test_bad_mounts(resolve, mount, text):
    with pytest.raises(InvalidParameter, match=text):
        resolve(mounts=[Mount(**mount)])


def test_what_is_not_there_says_so(resolve):
    with pytest.raises(NotSupported):
        resolve(mounts=[Mount(type="cluster", source="x", target="/b")])


def test_image_mounts_are_read_only(resolve):
    options = ImageOptions(subpath="usr/./share")
    (mount,) = resolve(mounts=[Mount(type="image", source="tools", target="/t", image_options=options)])
    assert (mount.kind, mount.name, mount.data) == ("image", "sha256:1", ["/layers/2", "/layers/1"])
    assert mount.read_only and mount.subpath == "usr/share"


def test_volumes_of_a_mount_get_labels_and_subpath(resolve):
    options = VolumeOptions(labels={"a": "b"}, subpath="in/side", no_copy=True)
    (mount,) = resolve(mounts=[Mount(type="volume", source="data", target="/d", volume_options=options)])
    assert (mount.name, mount.subpath, mount.copy_up, mount.driver) == ("data", "in/side", False, "local")
