"""User namespaces: what a user sees inside, outside and in the API."""

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import Api, load_image

from engine import Engine

pytestmark = pytest.mark.root

CORTEN = str(Path(sys.executable).with_name("corten"))
ETC = {
    "subuid": "nobody:300000:65536\ncontainers:1000000:200000\n",
    "subgid": "nobody:400000:65536\ncontainers:2000000:200000\n",
}
UIDS = "cat /proc/self/uid_map"


def _engine(config: dict[str, object]) -> Iterator[Api]:
    engine = Engine(config)
    try:
        engine.write_etc(ETC)
        engine.start()
        load_image(engine)
        yield Api(engine)
    finally:
        engine.close()


@pytest.fixture(scope="module")
def remapped() -> Iterator[Api]:
    """An engine with userns-remap."""
    yield from _engine({"userns-remap": "nobody"})


@pytest.fixture(scope="module")
def plain() -> Iterator[Api]:
    """One without."""
    yield from _engine({})


def shell(api: Api, script: str, **config: object) -> list[str]:
    code, out, err = api.output("sh", "-c", script, **config)
    assert (code, err) == (0, "")
    return out.split("\n")[:-1]


def root_of(api: Api) -> Path:
    return Path(api.call("GET", "/info")["DockerRootDir"])


def names(archive: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {each.name: (each.uid, each.gid) for each in tar}


def test_info_and_data_root(remapped: Api) -> None:
    info = remapped.call("GET", "/info")
    assert "name=userns" in info["SecurityOptions"]
    assert info["DockerRootDir"] == f"{remapped.engine.root}/300000.400000"


def test_root_inside_is_nobody_outside(remapped: Api) -> None:
    container = remapped.start("sleep", "100")
    pid = remapped.state(container)["Pid"]
    status = remapped.engine.run("cat", f"/proc/{pid}/status").stdout
    assert "Uid:\t300000\t300000\t300000\t300000\n" in status
    assert "Gid:\t400000\t400000\t400000\t400000\n" in status
    remapped.remove(container)


def test_inside_everything_looks_as_usual(remapped: Api) -> None:
    script = "ls -ln /bin/busybox /etc/hosts /dev/null /dev/shm/. /dev/pts/ptmx /dev/mqueue | tr -s ' '; id; hostname"
    lines = shell(remapped, script, host={"NetworkMode": "bridge"}, Hostname="box")
    for line in lines[:-2]:
        if line[:1] in "-dc" and line:
            assert line.split()[2:4] == ["0", "0"], line
    assert lines[-2:] == ["uid=0(root) gid=0 groups=0", "box"]


def test_what_is_read_only_stays_so(remapped: Api, tmp_path: Path) -> None:
    """Also for root inside who may mount: as the mounts of who has more rights, they are locked."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    file.write_text("the host's\n")
    file.chmod(0o666)
    binds = [f"{folder}:/folder:ro", f"{file}:/file:ro", f"{folder}:/open"]
    script = (
        "for each in folder file; do mount -o remount,rw,bind /$each && echo remounted; done;"
        "mkdir /other; mount -o bind /folder /other && mount -o remount,rw,bind /other && echo remounted;"
        "touch /folder/new; echo new >/file; touch /open/mine; cat /file"
    )
    host = {"Binds": binds, "CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined"]}
    _, out, err = remapped.output("sh", "-c", script, host=host)
    assert out == "the host's\n"
    assert err.count("Read-only file system") == 2
    assert [each.name for each in folder.iterdir()] == ["mine"]


def test_layers_are_neither_copied_nor_chowned(remapped: Api) -> None:
    container = remapped.create("sh", "-c", "echo x > /new; rm /data/file; mkdir /d; chown 33:33 /d")
    remapped.call("POST", f"/containers/{container}/start")
    assert remapped.wait(container) == 0
    upper = root_of(remapped) / "containers" / container / "upper"
    assert os.stat(upper / "new").st_uid == 0  # as it is inside: so `commit` takes it as it is
    assert os.stat(upper / "d").st_uid == 33
    assert sorted(p.name for p in upper.iterdir()) == ["d", "data", "new"]
    for layer in (root_of(remapped) / "layers").glob("*/bin/busybox"):
        assert layer.stat().st_uid == 0
    remapped.remove(container)


def test_files_come_and_go_with_the_ids_inside(remapped: Api) -> None:
    container = remapped.start("sh", "-c", "touch /web; chown 33:34 /web; echo ready; exec sleep 100")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("given")
        entry.uid, entry.gid = 33, 5
        tar.addfile(entry)
    for phase in ("running", "stopped"):
        if phase == "stopped":
            remapped.call("POST", f"/containers/{container}/kill")
            remapped.wait(container)
        code, archive = remapped.engine.request("GET", f"/containers/{container}/archive?path=/web")
        assert (code, names(archive)) == (200, {"web": (33, 34)})
        code, archive = remapped.engine.request("GET", f"/containers/{container}/export")
        assert names(archive)["web"] == (33, 34)
        put_archive(remapped, container, out.getvalue())
        code, archive = remapped.engine.request("GET", f"/containers/{container}/archive?path=/given")
        assert names(archive) == {"given": (33, 5)}
    image = remapped.call("POST", f"/commit?container={container}")["Id"]
    lines = shell(remapped, "ls -ln /web /given | tr -s ' '", image=image)
    assert [line.split()[2:4] for line in lines] == [["33", "5"], ["33", "34"]]
    remapped.remove(container)


def put_archive(api: Api, container: str, archive: bytes) -> None:
    path = api.engine.directory / "given.tar"
    path.write_bytes(archive)
    api.engine.run("sh", "-c", f"docker cp -a - {container}:/ < {path}")


def test_volumes_belong_to_the_remapped_root(remapped: Api) -> None:
    binds = {"host": {"Binds": ["vol:/data"]}}
    assert shell(remapped, "touch /data/new; cat /data/file; echo", **binds) == ["image"]
    data = root_of(remapped) / "volumes" / "vol" / "_data"
    for path in (data, data / "file", data / "new"):
        assert (path.stat().st_uid, path.stat().st_gid) == (300000, 400000)
    # Whoever has other ids sees the same owners.
    for mode in ("auto", "keep-id:uid=1000,gid=1000"):
        lines = shell(
            remapped,
            "ls -ln /data | tail -2 | tr -s ' '",
            User="0",
            host={"UsernsMode": mode, **binds["host"]},
        )
        assert [line.split()[2:4] for line in lines] == [["0", "0"]] * 2
    # A stopped container's volume, too.
    container = remapped.create("true", host={"UsernsMode": "auto", **binds["host"]})
    _, archive = remapped.engine.request("GET", f"/containers/{container}/archive?path=/data")
    assert set(names(archive).values()) == {(0, 0)}
    remapped.remove(container)
    host = {"UsernsMode": "host", **binds["host"]}
    assert shell(remapped, "ls -ldn /data | tr -s ' ' | cut -d' ' -f3,4", host=host) == ["300000 400000"]


def test_a_bind_whose_owner_is_the_containers_user(remapped: Api) -> None:
    source = remapped.engine.directory / "mapped"
    source.mkdir()
    os.chown(source, 777, 777)
    for user in ("root", "web"):
        lines = shell(remapped, "touch /to/$(id -u)", User=user, host={"Binds": [f"{source}:/to:map"]})
        assert lines == []
    assert {path.stat().st_uid for path in source.iterdir()} == {777}


def test_a_missing_bind_source_is_made_for_the_container(remapped: Api) -> None:
    source = remapped.engine.directory / "made" / "deep"
    shell(remapped, "touch /to/file", host={"Binds": [f"{source}:/to"]})
    assert source.stat().st_uid == source.parent.stat().st_uid == 300000


def test_the_hosts_ids_for_who_asks(remapped: Api) -> None:
    host = {"UsernsMode": "host", "Privileged": True}
    assert shell(remapped, UIDS, host=host)[0].split() == ["0", "0", "4294967295"]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (
            {"Privileged": True},
            "privileged mode is incompatible with user namespaces.  You must run the container in the host "
            "namespace when running privileged mode",
        ),
        (
            {"NetworkMode": "host"},
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        ({"PidMode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_refusals(remapped: Api, plain: Api, host: dict[str, object], message: str) -> None:
    for api, mode in ((remapped, ""), (plain, "auto")):
        answer = api.call(
            "POST",
            "/containers/create",
            {"Image": "engine-test", "Cmd": ["true"], "HostConfig": {"UsernsMode": mode, **host}},
            status=400,
        )
        assert answer == {"message": message}


def test_every_automatic_container_has_ids_of_its_own(plain: Api) -> None:
    running = [plain.start("sleep", "100", host={"UsernsMode": "auto"}) for _ in range(2)]
    firsts = []
    for container in running:
        pid = plain.state(container)["Pid"]
        firsts.append(plain.engine.run("cat", f"/proc/{pid}/uid_map").stdout.split())
        assert plain.call("GET", f"/containers/{container}/json")["HostConfig"]["UsernsMode"] == "auto"
    assert firsts == [["0", "1000000", "65536"], ["0", "1065536", "65536"]]
    plain.remove(running[0])
    assert shell(plain, UIDS, host={"UsernsMode": "auto:size=9000"})[0].split() == ["0", "1000000", "9000"]
    plain.remove(running[1])


def test_ids_run_out(plain: Api) -> None:
    body = {"Image": "engine-test", "Cmd": ["true"], "HostConfig": {"UsernsMode": "auto:size=200001"}}
    answer = plain.call("POST", "/containers/create", body, status=409)
    assert answer["message"] == "no 200001 ids are left of those of containers in /etc/subuid"


def test_a_kept_user_owns_what_it_writes(plain: Api) -> None:
    source = plain.engine.directory / "home"
    source.mkdir()
    os.chown(source, 4321, 4321)
    host = {"UsernsMode": "keep-id:uid=4321,gid=4321", "Binds": [f"{source}:/home"]}
    assert shell(plain, "id; touch /home/file", host=host) == ["uid=4321 gid=4321 groups=4321"]
    assert (source / "file").stat().st_uid == 4321
    shell(plain, "touch /made; cat /data/file >/dev/null", User="root", host=host)


def test_sharing_namespaces_shares_the_ids(plain: Api) -> None:
    host = {"UsernsMode": "auto", "IpcMode": "shareable", "NetworkMode": "bridge"}
    owner = plain.start("sleep", "100", host=host)
    shared = dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), f"container:{owner}")
    lines = shell(
        plain, "cat /proc/self/uid_map; ls /sys/class/net; ps | tr -s ' '; touch /dev/shm/x", host=shared
    )
    assert lines[0].split() == ["0", "1000000", "65536"]
    assert {"eth0", "lo"} <= set(lines)
    assert any("sleep 100" in line for line in lines)
    plain.remove(owner)


@pytest.mark.parametrize("kind", ["PidMode", "IpcMode"])
@pytest.mark.parametrize("network", ["bridge", "none"])
def test_sharing_processes_or_ipc_leaves_the_network_its_own(plain: Api, kind: str, network: str) -> None:
    """Its network belongs to the user namespace that it shares: sysfs is mounted, root rules what is there."""
    host = {"UsernsMode": "auto", "IpcMode": "shareable"}
    owner = plain.start("sleep", "100", host=host)
    host = {kind: f"container:{owner}", "NetworkMode": network, "CapAdd": ["NET_ADMIN"]}
    lines = shell(
        plain, "cat /proc/self/uid_map; ls /sys/class/net; ip link set lo down && echo down", host=host
    )
    assert lines[0].split() == ["0", "1000000", "65536"]
    assert ("eth0" in lines) is (network == "bridge")
    assert lines[-1] == "down"
    plain.remove(owner)


def test_exec_terminal_and_users(plain: Api) -> None:
    container = plain.start("sh", "-c", "exec sleep 100", host={"UsernsMode": "auto"}, Tty=True)
    run = plain.engine.run
    assert run("docker", "exec", container, "sh", "-c", f"{UIDS}; id -u").stdout.split() == [
        "0", "1000000", "65536", "0",
    ]  # fmt: skip
    output = run("docker", "exec", "-u", "web", container, "sh", "-c", "echo said >/dev/stdout; id").stdout
    assert output == "said\nuid=33(web) gid=33 groups=33\n"
    plain.remove(container)


def test_stdout_can_be_opened_by_whoever_has_it(plain: Api) -> None:
    for host in ({"UsernsMode": "auto"}, {}):
        assert shell(plain, "echo said > /dev/stdout", User="web", host=host) == ["said"]


def test_networks_and_sysctls_belong_to_the_container(plain: Api) -> None:
    plain.call("POST", "/networks/create", {"Name": "own"})
    try:
        for network in ("own", "none", "bridge"):
            host = {
                "UsernsMode": "auto",
                "NetworkMode": network,
                "CapAdd": ["NET_ADMIN"],
                "Sysctls": {"net.ipv4.ip_default_ttl": "77"},
            }
            script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/ping_group_range; busybox ip link set lo down"
            assert shell(plain, script, host=host)[:2] == ["77", "0\t65535"]
    finally:
        plain.call("DELETE", "/networks/own")


def test_images_of_several_layers_are_shown_with_the_ids_inside(plain: Api) -> None:
    container = plain.start("sh", "-c", "mkdir /more; touch /more/web; chown 33:33 /more/web")
    plain.wait(container)
    image = plain.call("POST", f"/commit?container={container}&repo=layered")["Id"]
    plain.remove(container)
    for options, path in (({}, "/there/more/web"), ({"Subpath": "more"}, "/there/web")):
        mount = {"Type": "image", "Source": image, "Target": "/there", "ImageOptions": options}
        host = {"UsernsMode": "auto", "Mounts": [mount if options else {**mount, "ImageOptions": None}]}
        assert shell(plain, f"ls -ln {path} | tr -s ' ' | cut -d' ' -f3,4", host=host) == ["33 33"]


def test_devices_are_nodes_of_its_own(plain: Api) -> None:
    device = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/other", "CgroupPermissions": "rw"}
    host = {"UsernsMode": "auto", "Devices": [device]}
    lines = shell(plain, "chmod 600 /dev/other; echo x >/dev/other; ls -ln /dev/other | tr -s ' '", host=host)
    assert lines[0].split()[:6] == ["crw-------", "1", "0", "0", "1,", "3"]


def test_engine_restarts_leave_them_alone(plain: Api) -> None:
    container = plain.start("sleep", "100", host={"UsernsMode": "auto"})
    pid = plain.state(container)["Pid"]
    plain.engine.kill()
    plain.engine.start()
    assert plain.state(container)["Pid"] == pid
    other = shell(plain, UIDS, host={"UsernsMode": "auto"})
    assert other[0].split()[1] == "1065536"
    assert (
        plain.engine.run("docker", "exec", container, "cat", "/proc/self/uid_map").stdout.split()[1]
        == "1000000"
    )
    plain.remove(container)


def test_builds_run_with_the_engines_ids(remapped: Api) -> None:
    folder = remapped.engine.directory / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "FROM engine-test\n"
        "RUN cat /proc/self/uid_map && touch /made && chown 33:33 /made\n"
        "RUN --mount=type=cache,target=/cache touch /cache/x && ls -ln /cache | tail -1 | tr -s ' ' > /owners\n"
        "RUN --mount=type=secret,id=word cat /run/secrets/word > /word\n"
    )
    (folder / "word").write_text("hush")
    secret = f"id=word,src={folder}/word"
    done = remapped.engine.run(
        CORTEN, "build", "--progress=plain", "--secret", secret, "-t", "built", str(folder)
    )
    assert "300000      65536" in done.stdout + done.stderr
    lines = shell(remapped, "ls -ln /made | tr -s ' '; cat /owners /word; echo", image="built")
    assert [line.split()[2:4] for line in lines[:2]] == [["33", "33"], ["0", "0"]]
    assert lines[2] == "hush"


def test_another_runtime_is_refused(plain: Api) -> None:
    container = plain.create("true", host={"UsernsMode": "auto", "Runtime": "crun"})
    answer = plain.call("POST", f"/containers/{container}/start", status=501)
    assert answer["message"] == "user namespaces need Corten's own runtime"
    plain.remove(container)


def test_the_default_user_is_made(new_engine) -> None:  # type: ignore[no-untyped-def]
    engine = new_engine({"userns-remap": "default"}, etc={"subuid": "a:100000:70000\n", "subgid": ""})
    assert engine.run("grep", "dockremap", "/etc/subuid", "/etc/subgid").stdout.split() == [
        "/etc/subuid:dockremap:170000:65536",
        "/etc/subgid:dockremap:100000:65536",
    ]
    assert (engine.root / "170000.100000" / "meta.db").exists()


def test_no_ids_no_engine(new_engine) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        RuntimeError, match='Can\'t create ID mappings: no subuid ranges found for user "nobody"'
    ):
        new_engine({"userns-remap": "nobody"}, etc={"subuid": "", "subgid": ""})


def test_the_command_line_keeps_its_user(plain: Api) -> None:
    done = plain.engine.run(CORTEN, "run", "--rm", "--userns=keep-id", "engine-test", "id", check=False)
    assert "keep-id:uid=0,gid=0: it has to name the user" in done.stderr  # root runs the tests
