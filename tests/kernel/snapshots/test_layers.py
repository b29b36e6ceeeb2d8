import gzip
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from corten.digest import DigestMismatch
from corten.linux.deletion import delete_tree
from corten.metadata import Ledger
from corten.snapshots import uppers
from corten.snapshots.arrival import Arrival
from corten.snapshots.changes import changes
from corten.snapshots.errors import BadArchive
from corten.snapshots.layers import DirectoryLayers
from corten.snapshots.workers import JobFailed, WorkerPool
from imagefiles import directory, sha256, symlink, tar, tree


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture
def layers(tmp_path, workers):
    ledger = Ledger(str(tmp_path / "meta.db"))
    yield DirectoryLayers(str(tmp_path), ledger, workers)
    ledger.close()


def source(data):
    fd = os.memfd_create("layer")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def leftovers(tmp_path):
    return os.listdir(tmp_path / "tmp")


def test_unpacked_and_adopted(layers, tmp_path):
    data = tar(directory("d"), ("d/f", b"12345"))
    read = []
    layer = layers.unpack(source(gzip.compress(data)), sha256(data), read.append)
    assert (layer.diff_id, layer.size) == (sha256(data), 5)
    assert not layers.has(layer.diff_id)
    layers.adopt(layer)
    assert layers.has(layer.diff_id)
    assert os.path.basename(layers.directory(layer.diff_id)) == sha256(data)[7:31]
    assert Path(layers.directory(layer.diff_id), "d/f").read_bytes() == b"12345"
    assert os.stat(layers.directory(layer.diff_id)).st_mode & 0o777 == 0o755
    assert leftovers(tmp_path) == []
    assert read[-1] == len(gzip.compress(data))


def test_the_same_layer_twice_is_one(layers, tmp_path):
    data = tar(("f", b"x"))
    for _ in range(2):
        layers.adopt(layers.unpack(source(data), None))
    assert sorted(os.listdir(tmp_path / "layers")) == sorted([sha256(data)[7:31], "empty"])
    assert leftovers(tmp_path) == []


def test_wrong_diff_id_is_not_shared(layers, tmp_path):
    with pytest.raises(DigestMismatch):
        layers.unpack(source(tar(("f", b"x"))), sha256(b"other"))
    assert leftovers(tmp_path) == []


def test_broken_layer_leaves_nothing(layers, tmp_path):
    with pytest.raises(BadArchive, match="unexpected EOF"):
        layers.unpack(source(gzip.compress(tar(("f", b"x" * 100000)))[:-20]), None)
    assert leftovers(tmp_path) == []


def test_errors_of_the_kernel_arrive_as_they_are(layers):
    with pytest.raises(OSError) as e:
        layers.unpack(source(tar(("n" * 300, b""))), None)
    assert e.value.errno == 36  # ENAMETOOLONG


def test_killed_worker_is_an_error_and_leaves_nothing(layers, tmp_path):
    read_end, write_end = os.pipe()
    os.write(write_end, tar(("f", b"x" * 5000))[:3000])
    jobs = []

    def kill():
        while not jobs:
            time.sleep(0.01)
        jobs[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(JobFailed, match="was killed"):
        layers.unpack(read_end, None, on_start=jobs.append)
    thread.join()
    os.close(write_end)
    assert leftovers(tmp_path) == []


def test_a_file_is_unpacked_while_it_is_written(layers, tmp_path):
    data = tar(("a", b"a" * (5 << 20)), ("b", b"b" * (5 << 20)))
    path = tmp_path / "arriving"
    path.touch()
    reading, begun, made = os.open(path, os.O_RDONLY), threading.Event(), []
    arrival = Arrival(len(data))
    work = lambda: made.append(layers.unpack(reading, sha256(data), lambda _: begun.set(), arrival=arrival))  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    with path.open("ab", buffering=0) as file:
        file.write(data[: 6 << 20])
        arrival.advance(6 << 20)
        assert begun.wait(20)
        file.write(data[6 << 20 :])
        arrival.advance(len(data))
    thread.join()
    os.close(reading)
    arrival.close()
    arrival.advance(len(data))  # nobody listens: no error
    assert made[0].size == 10 << 20
    layers.drop(made[0])
    assert leftovers(tmp_path) == []


def test_a_file_that_ends_before_its_size(layers, tmp_path):
    data = tar(("a", b"a" * 50_000))
    arrival = Arrival(len(data) + 1)
    arrival.advance(arrival.size)
    fd = source(data)
    with pytest.raises(BadArchive, match="unexpected EOF"):
        layers.unpack(fd, None, arrival=arrival)
    arrival.close()
    assert leftovers(tmp_path) == []


def test_killed_nursery_is_replaced(layers):
    layers.unpack(source(tar(("f", b"x"))), None)
    os.kill(layers._workers._nursery.pid, signal.SIGKILL)
    layers._workers._nursery.wait()
    assert layers.unpack(source(tar(("f", b"x"))), None).size == 1


def test_jobs_beyond_the_limit_wait_their_turn(layers):
    data = gzip.compress(tar(*((f"f{i}", b"x" * 1000) for i in range(300))))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(layers.unpack(source(data), None).size))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [300_000] * 8


@pytest.fixture
def overlay(tmp_path):
    """Changes made through a real overlay, in its upperdir: overlay(lower, script) -> upperdir."""

    def change(lower, script):
        container = tmp_path / f"container{len(os.listdir(tmp_path))}"
        container.mkdir()
        paths = uppers.prepare(str(container), [lower])
        merged = container / "merged"
        merged.mkdir()
        options = f"lowerdir={lower},upperdir={paths.upper},workdir={paths.work}"
        subprocess.run(
            [
                "unshare",
                "-m",
                "sh",
                "-ec",
                f"mount -t overlay overlay -o {options} {merged}; cd {merged}; {script}",
            ],
            check=True,
        )
        return paths.upper

    return change


BASE = tar(
    directory("etc"), ("etc/a", b"a"), ("etc/b", b"b"), directory("var"), ("var/x", b"x"),
    symlink("link", "etc"), ("top", b"t"),
)  # fmt: skip


@pytest.fixture
def base(layers):
    layer = layers.unpack(source(BASE), None)
    layers.adopt(layer)
    return layers.directory(layer.diff_id)


SCRIPT = (
    "rm etc/a; echo new > etc/c; ln etc/c etc/d; rm -r var; mkdir var; echo y > var/y; chmod 4711 top;"
    "rm link; mkdir link; touch -d @7 top etc/c etc var/y"
)


def changes_of(upper, lower):
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (upper, *lower)]
    try:
        return list(changes(fds[0], fds[1:]))
    finally:
        for fd in fds:
            os.close(fd)


def test_what_the_runtime_made_to_mount_on_is_no_change(base, overlay):
    stubs = "mkdir proc sys dev dev/pts; : > etc/hosts; : > etc/resolv.conf; : > dev/console"
    assert changes_of(overlay(base, stubs), [base]) == []
    upper = overlay(base, f"{stubs}; echo x > etc/hosts; mkdir data; touch var")
    assert changes_of(upper, [base]) == [("/data", 1), ("/etc", 0), ("/etc/hosts", 1), ("/var", 0)]


def test_an_upperdir_is_the_diff(layers, base, overlay, tmp_path):
    upper = overlay(base, SCRIPT)
    assert changes_of(upper, [base]) == [
        ("/etc", 0), ("/etc/a", 2), ("/etc/c", 1), ("/etc/d", 1), ("/link", 0),
        ("/top", 0), ("/var", 0), ("/var/y", 1),
    ]  # fmt: skip
    layer = layers.from_upper(upper, keep=False)
    layers.adopt(layer)
    assert not os.path.exists(upper)

    with open(tmp_path / "out.tar", "w+b") as out:
        layers.write_tar(layer.diff_id, out.fileno())
    written = (tmp_path / "out.tar").read_bytes()
    assert sha256(written) == layer.diff_id

    # What came out goes in again as the same layer, elsewhere.
    again = layers.unpack(source(written), layer.diff_id)
    first, second = tree(layers.directory(layer.diff_id)), tree(again.path)
    assert first["var"][-1] == {"trusted.overlay.opaque": b"y"}
    assert first == second


def test_a_kept_upperdir_gives_the_same_layer(layers, base, overlay):
    upper = overlay(base, SCRIPT)
    kept = layers.from_upper(upper, keep=True)
    assert os.path.exists(upper)
    assert kept.diff_id == layers.from_upper(upper, keep=False).diff_id
    with open(kept.path + "/etc/c", "a") as f:
        f.write("x")
    assert os.stat(kept.path + "/etc/d").st_size == 5  # links stay links, to the copy


def test_large_and_small_upperdirs_are_hashed_alike(layers, base, overlay, monkeypatch):
    upper = overlay(base, SCRIPT)
    small = layers.from_upper(upper, keep=True).diff_id
    monkeypatch.setattr("corten.snapshots.layers.is_small", lambda _: False)
    assert layers.from_upper(upper, keep=True).diff_id == small


def test_deep_trees(layers, tmp_path):
    upper = tmp_path / "deep"
    path = str(upper)
    os.mkdir(path)
    try:
        fd = os.open(path, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=fd)
            following = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = following
        os.close(fd)
        layer = layers.from_upper(path, keep=False)
        assert layer.size == 0
    finally:  # also what a failure leaves: pytest's own clean-up recurses, and would fail ever after
        for directory in filter(Path.is_dir, tmp_path.iterdir()):
            delete_tree(str(directory))


def test_prepare_shows_the_images_own_root(tmp_path):
    lower = tmp_path / "lower"
    lower.mkdir()
    os.chmod(lower, 0o555)
    os.chown(lower, 3, 4)
    container = tmp_path / "c"
    container.mkdir()
    paths = uppers.prepare(str(container), [str(lower)])
    status = os.stat(paths.upper)
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o555, 3, 4)
    assert uppers.prepare(str(container), [str(lower)]) == paths


def test_sockets_are_left_out_and_times_are_whole_seconds(layers, tmp_path):
    import socket

    upper = tmp_path / "u"
    upper.mkdir()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(upper / "socket"))
        (upper / "f").write_bytes(b"x")
        os.utime(upper / "f", ns=(0, 1_999_999_999))
        assert layers.from_upper(str(upper), keep=True).diff_id == sha256(tar(*[_entry("f", 1_000_000_000)]))


def _entry(name, mtime_ns):
    from corten.snapshots.tar_reader import TarEntry

    return (TarEntry(name.encode(), mode=0o644, mtime_ns=mtime_ns), b"x")
