"""docker-py, unmodified, against our socket: what its users do with it."""

import gc
import io
import time
from collections.abc import Iterator

import docker
import pytest
from docker.errors import APIError, BuildError, ContainerError, ImageNotFound, NotFound
from recording.session import Session

from engine import Engine

# docker-py leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(engine: Engine, session: Session) -> Iterator[docker.DockerClient]:
    session.clean()
    connected = docker.DockerClient(base_url=engine.docker_host, version="auto", timeout=30)
    yield connected
    connected.close()
    gc.collect()  # the sockets that docker-py leaves to it


def test_run_returns_output_and_raises_on_failure(client: docker.DockerClient) -> None:
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(ContainerError) as failure:
        client.containers.run("busybox", ["sh", "-c", "echo problem >&2; exit 3"], remove=True)
    assert failure.value.exit_status == 3
    assert failure.value.stderr == b"problem\n"
    assert client.containers.list(all=True) == []


def test_unknown_image(client: docker.DockerClient) -> None:
    with pytest.raises(ImageNotFound):
        client.images.get("nosuch")


def test_life_of_a_container(client: docker.DockerClient) -> None:
    container = client.containers.run("busybox", ["sleep", "60"], name="life", detach=True, labels={"a": "b"})
    assert [found.name for found in client.containers.list(filters={"label": "a=b"})] == ["life"]
    container.rename("renamed")
    container.reload()
    assert (container.name, container.status) == ("renamed", "running")
    container.kill()
    assert container.wait()["StatusCode"] == 137
    container.remove()
    with pytest.raises(NotFound):
        client.containers.get("renamed")


def test_logs_can_be_followed(client: docker.DockerClient) -> None:
    container = client.containers.run(
        "busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True
    )
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"


def test_exec(client: docker.DockerClient) -> None:
    container = client.containers.run("busybox", ["sleep", "60"], detach=True)
    assert container.exec_run(["sh", "-c", "exit 4"]).exit_code == 4
    code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (code, out, err) == (0, b"out\n", b"err\n")
    assert container.exec_run("id -u", user="1000").output == b"1000\n"


def test_the_start_decides_how_an_exec_is_told(client: docker.DockerClient) -> None:
    """A terminal's output comes in frames if the start did not say that it is one, and the other way round."""
    container = client.containers.run("busybox", ["sleep", "60"], detach=True)
    ident = client.api.exec_create(container.id, ["echo", "out"], tty=True)["Id"]
    assert client.api.exec_start(ident, tty=False, demux=True) == (b"out\r\n", None)
    ident = client.api.exec_create(container.id, ["sh", "-c", "echo out; sleep 0.2; echo err >&2"])["Id"]
    assert client.api.exec_start(ident, tty=True) == b"out\nerr\n"


def test_detach_keys_of_an_exec(client: docker.DockerClient) -> None:
    container = client.containers.run("busybox", ["sleep", "60"], detach=True)
    ident = client.api.exec_create(container.id, ["cat"], stdin=True, tty=True, detach_keys="ctrl-p")["Id"]
    stream = client.api.exec_start(ident, tty=True, socket=True)
    stream._sock.sendall(b"\x10")
    while stream._sock.recv(1024):
        pass
    stream.close()
    assert client.api.exec_inspect(ident)["Running"]


def test_attach_socket_is_a_two_way_stream(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["cat"], stdin_open=True, tty=True)
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    stream._sock.sendall(b"echoed\n")
    seen = b""
    while seen.count(b"echoed") < 2:  # once by the terminal, once by cat
        seen += stream._sock.recv(1024)
    stream.close()
    container.kill()


def test_build_and_its_failure(client: docker.DockerClient) -> None:
    image, log = client.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nRUN echo made >/made\n"), tag="made:1"
    )
    assert "made:1" in image.tags
    assert any("Successfully built" in line.get("stream", "") for line in log)
    assert client.containers.run("made:1", ["cat", "/made"], remove=True) == b"made\n"
    with pytest.raises(BuildError, match="returned a non-zero code: 5"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n"))


def test_image_saved_and_loaded(client: docker.DockerClient) -> None:
    image = client.images.get("busybox")
    assert image.tag("copy", "1")
    saved = b"".join(client.images.get("copy:1").save(named="copy:1"))
    client.images.remove("copy:1")
    assert [loaded.id for loaded in client.images.load(saved)] == [image.id]
    assert "copy:1" in client.images.get(image.id).tags


def test_events_tell_the_story(client: docker.DockerClient) -> None:
    since = time.time()
    client.containers.run("busybox", ["true"], name="told", remove=True, network_mode="none")
    events = client.events(since=since, until=time.time() + 0.5, decode=True, filters={"container": "told"})
    actions = [event["Action"] for event in events]
    assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_conflict_is_409(client: docker.DockerClient) -> None:
    client.containers.create("busybox", name="twin")
    with pytest.raises(APIError) as conflict:
        client.containers.create("busybox", name="twin")
    assert conflict.value.response.status_code == 409


def test_information(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"
    assert {network.name for network in client.networks.list()} >= {"bridge", "host", "none"}
    assert "LayersSize" in client.df()


def test_sizes_count_hard_links_once(client: docker.DockerClient) -> None:
    script = "dd if=/dev/zero of=/a bs=1000 count=5; ln /a /b; ln -s /a /c; sleep 60"
    container = client.containers.run("busybox", ["sh", "-c", script], detach=True)
    while container.exec_run("test -h /c").exit_code:
        pass
    found = client.api.get(client.api._url("/containers/{0}/json?size=1", container.id)).json()
    assert found["SizeRw"] == 5000 + len("/a")
    assert found["SizeRootFs"] == client.images.get("busybox").attrs["Size"] + found["SizeRw"]


def test_filters_of_the_list(client: docker.DockerClient) -> None:
    client.containers.create("busybox", name="one")

    def names(**filters: object) -> list[str]:
        return [found.name for found in client.containers.list(all=True, filters=filters)]

    assert names(isolation="default") == ["one"]
    with pytest.raises(APIError, match="unrecognized filter value for health: bad"):
        names(health="bad")
    with pytest.raises(APIError, match="invalid filter 'exited=x': strconv.Atoi"):
        names(exited="x")


def test_defaults_are_told(client: docker.DockerClient) -> None:
    container = client.containers.create("busybox")
    assert container.attrs["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


def test_a_link_is_removed_by_its_name(client: docker.DockerClient) -> None:
    target = client.containers.run("busybox", ["sleep", "60"], name="target", detach=True)
    user = client.containers.run(
        "busybox", ["sleep", "60"], name="user", detach=True, links={"target": "alias"}
    )
    client.api.remove_container("user/alias", link=True)
    user.reload()
    target.reload()
    assert (user.attrs["HostConfig"]["Links"], target.status) == (None, "running")
    with pytest.raises(NotFound):
        client.api.remove_container("nosuch/alias")
