"""Who is measured: Corten in a sandbox of its own, and the peers that script/peers brings up in theirs.

Each engine runs in its own network and pid namespace on the same file system, with the same image.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from http_client import Client
from recording import images

from engine import Engine

TOP = Path(__file__).parent.parent
OUT = TOP / ".cache" / "bench"
PEERS_STATE = TOP / ".cache" / "peers" / "state"


def build(name: str, *flags: str) -> Path:
    """Compile bench/NAME.c."""
    binary = OUT / name
    options = ["-O2", "-Wall", "-Wextra", "-Wno-format-truncation", *flags]
    subprocess.run(["gcc", *options, "-o", binary, TOP / "bench" / f"{name}.c"], check=True)
    return binary


def load_image(socket_path: str, tar: Path) -> None:
    """`docker load` through the API."""
    client = Client(socket_path)
    client.send_file("/v1.45/images/load?quiet=1", str(tar))
    client.close()


class Contenders:
    """Everybody, up and with the image loaded."""

    def __init__(self, *, with_corten: bool = True) -> None:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        self.tars = images.write_all(OUT)
        self.spawn = build("spawn", "-static")
        self.floor = build("floor")
        self.lower = OUT / "lower"
        self.lower.mkdir()
        subprocess.run(["tar", "-C", self.lower, "-xf", self.tars["rootfs"]], check=True)
        self.corten: Engine | None = None
        self._start_peers()
        if with_corten:
            self._start_corten()

    def _start_peers(self) -> None:
        printed = subprocess.run(
            [TOP / "script/peers", "up"], check=True, capture_output=True, text=True
        ).stdout
        self.peers = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
        load_image(self.docker_socket, self.tars["image"])
        shutil.copy(self.spawn, PEERS_STATE / "spawn")
        shutil.copy(self.tars["rootfs"], PEERS_STATE / "rootfs.tar")
        bundle = PEERS_STATE / "bundle"
        shutil.copytree(self.lower, bundle / "rootfs", symlinks=True, dirs_exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(self._docker_spec()))
        self.inside("sh", "-c", "podman --cgroup-manager=cgroupfs import -q /peers/rootfs.tar busybox")

    def _docker_spec(self) -> dict[str, Any]:
        """What dockerd asks of runc for `true`: crun shall set up the same container, seccomp and all."""
        client = Client(self.docker_socket)
        config = {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "none"}}
        identity = json.loads(client.request("POST", "/v1.45/containers/create", config))["Id"]
        client.request("POST", f"/v1.45/containers/{identity}/start")
        exec_root = Path(f"/proc/{self.peers['PEERS_PID']}/root/run/docker-exec")  # in their mount namespace
        written = next(exec_root.glob(f"**/moby/{identity}/config.json"))
        spec: dict[str, Any] = json.loads(written.read_text())
        client.request("DELETE", f"/v1.45/containers/{identity}?force=1")
        client.close()
        spec["process"]["args"] = ["true"]
        spec["root"]["path"] = "rootfs"
        spec["mounts"] = [mount for mount in spec["mounts"] if not mount["source"].startswith("/peers/")]
        spec.pop("hooks", None)  # libnetwork's, for a sandbox that is no more
        spec["linux"].pop("cgroupsPath", None)  # crun names it after the container
        return spec

    def _start_corten(self) -> None:
        os.environ["TMPDIR"] = str(OUT)  # its root on the same file system as dockerd's
        self.corten = Engine()
        self.corten.start()
        load_image(self.corten_socket, self.tars["image"])

    @property
    def docker_socket(self) -> str:
        """dockerd's API."""
        return self.peers["DOCKER_HOST"].removeprefix("unix://")

    @property
    def corten_socket(self) -> str:
        """Our API."""
        assert self.corten is not None
        return str(self.corten.socket)

    def inside(self, *command: str) -> str:
        """Output of a command in the peers' namespaces."""
        done = subprocess.run([TOP / "script/peers", "enter", *command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def versions(self) -> dict[str, str]:
        """What is compared with what."""
        found = {
            "dockerd": self.inside("dockerd", "--version").split()[2].rstrip(","),
            "podman": self.inside("podman", "--version").split()[-1],
            "crun": self.inside("crun", "--version").split()[2],
            "docker CLI": subprocess.check_output(["docker", "--version"], text=True).split()[2].rstrip(","),
            "python": sys.version.split()[0],
            "kernel": os.uname().release,
            "cores": str(os.cpu_count()),
        }
        return {name: version.removesuffix("+dfsg1") for name, version in found.items()}

    def close(self) -> None:
        """End everybody and remove what they left."""
        if self.corten is not None:
            self.corten.close()
        subprocess.run([TOP / "script/peers", "down"], check=True)
        shutil.rmtree(OUT, ignore_errors=True)
