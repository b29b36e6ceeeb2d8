"""Files in and out of containers, by docker-py and the docker CLI: what `cp`, `export`, `diff` leave behind."""

import gc
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator

import docker
import pytest
from docker.errors import APIError, NotFound
from recording.session import Session

from engine import Engine

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(engine: Engine, session: Session) -> Iterator[docker.DockerClient]:
    session.clean()
    connected = docker.DockerClient(base_url=engine.docker_host, version="auto", timeout=30)
    yield connected
    connected.close()
    gc.collect()  # the sockets that docker-py leaves to it


def archived(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.gid = len(text), 1234, 1235
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def members(chunks: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: member for member in tar.getmembers()}


def content(chunks: Iterator[bytes], name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


@pytest.mark.parametrize("running", [True, False])
def test_there_and_back(client: docker.DockerClient, running: bool) -> None:
    container = client.containers.create("busybox", ["sleep", "60"])
    if running:
        container.start()
    assert container.put_archive("/root", archived(a="one", b="two"))
    stream, stat = container.get_archive("/root/a")
    assert (stat["name"], stat["size"], stat["mode"], stat["linkTarget"]) == ("a", 3, 0o644, "")
    assert content(stream, "a") == b"one"
    found = members(container.get_archive("/root")[0])
    assert set(found) == {"root", "root/a", "root/b"}
    assert (found["root/a"].uid, found["root/a"].gid) == (1234, 1235)
    assert {change["Path"]: change["Kind"] for change in container.diff()} == {
        "/root": 0,
        "/root/a": 1,
        "/root/b": 1,
    }
    with pytest.raises(NotFound, match="Could not find the file /nosuch in container"):
        container.get_archive("/nosuch")
    with pytest.raises(NotFound, match="Could not find the file /nosuch in container"):
        container.put_archive("/nosuch", archived(a=""))
    with pytest.raises(APIError, match="extraction point is not a directory"):
        container.put_archive("/etc/passwd", archived(a=""))
    with pytest.raises(APIError, match="unexpected EOF"):
        container.put_archive("/root", archived(c="x" * 5000)[:2000])


def test_what_was_put_into_a_stopped_container_is_there_when_it_runs(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["cat", "/root/a"])
    container.put_archive("/root", archived(a="here\n"))
    container.start()
    assert container.wait()["StatusCode"] == 0
    assert container.logs() == b"here\n"
    assert content(container.get_archive("/root/a")[0], "a") == b"here\n"


def test_a_running_container_sees_it_at_once_and_we_what_it_does(client: docker.DockerClient) -> None:
    container = client.containers.run(
        "busybox",
        ["sleep", "60"],
        detach=True,
        tmpfs={"/mem": ""},
        volumes={"vol": {"bind": "/vol", "mode": "rw"}},
    )
    container.put_archive("/root", archived(a="1"))
    assert container.exec_run("cat /root/a").output == b"1"
    container.exec_run("sh -c 'echo 2 >/mem/b; echo 3 >/vol/c'")
    assert content(container.get_archive("/mem/b")[0], "b") == b"2\n"
    assert content(container.get_archive("/vol/c")[0], "c") == b"3\n"
    container.put_archive("/mem", archived(d="4"))
    assert container.exec_run("cat /mem/d").output == b"4"
    # The kernel's own file systems are not files of the container.
    assert set(members(container.get_archive("/proc")[0])) == {"proc"}
    assert b"nameserver" in content(container.get_archive("/etc/resolv.conf")[0], "resolv.conf")


def test_volumes_of_containers_that_do_not_run(
    client: docker.DockerClient, tmp_path: os.PathLike[str]
) -> None:
    container = client.containers.create(
        "busybox",
        volumes={"vol": {"bind": "/new/place", "mode": "rw"}, str(tmp_path): {"bind": "/mnt", "mode": "ro"}},
    )
    container.put_archive("/new/place", archived(a="1"))
    assert content(container.get_archive("/new/place/a")[0], "a") == b"1"
    other = client.containers.run(
        "busybox", ["cat", "/v/a"], remove=True, volumes={"vol": {"bind": "/v", "mode": "ro"}}
    )
    assert other == b"1"
    with pytest.raises(APIError, match="mounted volume is marked read-only"):
        container.put_archive("/mnt", archived(a="1"))
    assert list(os.scandir(tmp_path)) == []


@pytest.mark.parametrize("running", [True, False])
def test_mounts_of_images(client: docker.DockerClient, running: bool) -> None:
    kept = client.containers.run("busybox", ["sh", "-c", "echo 1 >/root/a"], detach=True)
    kept.wait()
    kept.commit("two", "layers")
    for image, name in (("two:layers", "root/a"), ("busybox", "etc/passwd")):
        mount = {"Type": "image", "Source": image, "Target": "/new/place"}
        container = client.api.create_container_from_config(
            {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {"Mounts": [mount]}}
        )["Id"]
        if running:
            client.api.start(container)
        assert content(client.api.get_archive(container, f"/new/place/{name}")[0], name.rpartition("/")[2])
        with pytest.raises(APIError, match="marked read-only"):
            client.api.put_archive(container, "/new/place/root", archived(a="2"))


def test_read_only_containers(client: docker.DockerClient) -> None:
    container = client.containers.run(
        "busybox", ["sleep", "60"], detach=True, read_only=True, tmpfs={"/mem": ""}
    )
    with pytest.raises(APIError, match="container rootfs is marked read-only"):
        container.put_archive("/root", archived(a="1"))
    container.put_archive("/mem", archived(a="1"))
    container.kill()
    container.wait()
    with pytest.raises(APIError, match="container rootfs is marked read-only"):
        container.put_archive("/root", archived(a="1"))


def test_links_are_resolved_in_the_container(client: docker.DockerClient) -> None:
    script = "ln -s /etc /abs; ln -s ../../../../etc/passwd /home/rel; ln -s /nowhere /broken; sleep 60"
    container = client.containers.run("busybox", ["sh", "-c", script], detach=True)
    while container.exec_run("test -h /broken").exit_code:
        pass
    _, stat = container.get_archive("/abs")
    assert (stat["linkTarget"], stat["mode"] >> 27) == ("/etc", 1)
    assert container.get_archive("/home/rel")[1]["linkTarget"] == "/etc/passwd"
    assert container.get_archive("/broken")[1]["linkTarget"] == "/nowhere"
    assert "abs/passwd" in members(container.get_archive("/abs/")[0])
    container.put_archive("/abs", archived(new="x"))
    assert container.exec_run("cat /etc/new").output == b"x"


def last_layer(archive: Iterable[bytes]) -> set[str]:
    """Names in the uppermost layer of a saved image."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
        layer = saved.extractfile(manifest[0]["Layers"][-1])
        return set(tarfile.open(fileobj=layer).getnames())


def test_export_is_the_root_without_volumes(client: docker.DockerClient) -> None:
    container = client.containers.run(
        "busybox", ["sleep", "60"], detach=True, volumes={"vol": {"bind": "/home", "mode": "rw"}}
    )
    container.exec_run("sh -c 'echo kept >/root/kept; rm /bin/wc; echo v >/home/volume'")
    while_running = members(container.export())
    container.kill()
    container.wait()
    stopped = members(container.export())
    assert set(while_running) == set(stopped)
    assert "root/kept" in stopped
    assert "home/guest" in stopped
    assert not {"bin/wc", "home/volume", "proc/self"} & set(stopped)


def test_a_client_that_goes_away_leaves_nothing(client: docker.DockerClient, engine: Engine) -> None:
    container = client.containers.run("busybox", ["sleep", "60"], detach=True)
    container.exec_run("dd if=/dev/zero of=/big bs=1M count=32")
    for stream in (container.get_archive("/big")[0], container.export()):
        next(iter(stream))
        stream.close()
    container.put_archive("/root", archived(a="1"))
    container.remove(force=True)


def test_many_at_once(client: docker.DockerClient) -> None:
    container = client.containers.run("busybox", ["sleep", "60"], detach=True)
    problems: list[Exception] = []

    def work(number: int) -> None:
        mine = docker.DockerClient(
            base_url=client.api._custom_adapter.socket_path.replace("/", "unix:///", 1)
        )
        try:
            mine.containers.get(container.id).put_archive("/root", archived(**{f"f{number}": "x" * 100_000}))
            assert (
                len(
                    content(
                        mine.containers.get(container.id).get_archive(f"/root/f{number}")[0], f"f{number}"
                    )
                )
                == 100_000
            )
        except Exception as e:
            problems.append(e)
        finally:
            mine.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.parametrize("running", [True, False])
def test_commit(client: docker.DockerClient, engine: Engine, running: bool) -> None:
    script = "echo kept >/root/kept; rm /bin/wc; rm -r /home; mkdir /home; touch /done; sleep 60"
    container = client.containers.run(
        "busybox",
        ["sh", "-c", script],
        detach=True,
        environment=["A=1"],
        labels={"l": "1"},
        user="0",
        hostname="h",
    )
    while container.exec_run("test -e /done").exit_code:
        pass
    if not running:
        container.kill()
        container.wait()
    changes = ['CMD ["cat","/root/kept"]', "ENV B=2", "LABEL m=2", "EXPOSE 80", "WORKDIR /root"]
    image = container.commit("made", "1", message="why", author="me", changes="\n".join(changes))
    container.reload()
    assert container.status == ("running" if running else "exited")
    assert image.tags == ["made:1"]
    config = image.attrs["Config"]
    assert {"A=1", "B=2"} < set(config["Env"])
    assert (config["Cmd"], config["Labels"], config["WorkingDir"]) == (
        ["cat", "/root/kept"],
        {"l": "1", "m": "2"},
        "/root",
    )
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert (image.attrs["Comment"], image.attrs["Author"]) == ("why", "me")
    assert image.attrs["RootFS"]["Layers"][:-1] == client.images.get("busybox").attrs["RootFS"]["Layers"]
    assert image.history()[0]["CreatedBy"] == f"sh -c {script}"
    assert client.containers.run("made:1", remove=True) == b"kept\n"
    listing = client.containers.run(
        "made:1", ["sh", "-c", "ls /home; ls /bin/wc 2>&1; test -e /etc/hosts"], remove=True
    )
    assert b"guest" not in listing
    assert b"No such file" in listing
    # The layer has what was changed and nothing that was only mounted.
    clean = client.containers.create("made:1")
    assert clean.diff() is None
    assert "etc/hosts" not in last_layer(image.save())


def test_commit_of_nothing_makes_no_layer(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["true"])
    container.start()
    container.wait()
    image = container.commit()
    assert image.attrs["RootFS"]["Layers"] == client.images.get("busybox").attrs["RootFS"]["Layers"]
    with pytest.raises(APIError, match="is not a valid change command"):
        container.commit(changes="FROM x")
    with pytest.raises(APIError, match="invalid reference format"):
        container.commit("Bad Name")
