"""A real engine on directories of its own, in a sandbox."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from corten.linux.deletion import delete_tree
from sandbox import Sandbox, child_of, remove_cgroups

START_TIMEOUT_S = 20
_CORTEND = Path(sys.executable).with_name("cortend")


class Engine:
    """`cortend` on a temporary root. Start, kill and restart it as a test needs."""

    def __init__(self, config: dict[str, object] | None = None) -> None:
        """config: keys of daemon.json. The name is short, because socket paths are limited to 107 bytes."""
        self.directory = Path(tempfile.mkdtemp(prefix="corten-"))
        self.root = self.directory / "root"
        self.exec_root = Path("/dev/shm") / self.directory.name  # a tmpfs, as /run is
        self.sandbox = Sandbox()
        self.cgroup = self.directory.name
        self.config_file = self.directory / "daemon.json"
        self.config_file.write_text(json.dumps({"cgroup-parent": f"/{self.cgroup}", **(config or {})}))
        self.log = self.directory / "cortend.log"
        self.program = [str(_CORTEND)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The API's socket."""
        return self.exec_root / "corten.sock"

    @property
    def docker_host(self) -> str:
        """The value of DOCKER_HOST."""
        return f"unix://{self.socket}"

    def write_etc(self, files: dict[str, str]) -> None:
        """Put files into /etc as the sandbox, and it alone, sees it."""
        over, work = self.directory / "etc", self.directory / "etc.work"
        over.mkdir()
        work.mkdir()
        for name, text in files.items():
            (over / name).write_text(text)
        data = f"lowerdir=/etc,upperdir={over},workdir={work}"
        subprocess.run(
            self.sandbox.command("mount", "-t", "overlay", "overlay", "-o", data, "/etc"), check=True
        )

    @property
    def pid(self) -> int:
        """The engine's pid as the test sees it."""
        assert self._process is not None
        return child_of(self._process.pid)

    def find(self, name: str) -> int:
        """The pid, as the test sees it, of the process in the sandbox that `ps` calls so. Raises LookupError."""
        namespace = os.readlink(f"/proc/{self.sandbox.pid}/ns/pid")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                named = (process / "comm").read_text().strip() == name
                if named and os.readlink(process / "ns/pid") == namespace:
                    return int(process.name)
        raise LookupError(name)

    def start(self, *arguments: str) -> None:
        """Start cortend and wait until it answers. Raises RuntimeError with its log if it does not."""
        command = [*self.program, "--root", str(self.root), "--exec-root", str(self.exec_root)]
        command += ["--config-file", str(self.config_file), *arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.sandbox.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the engine did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End the engine as a crash would: at once, and it alone."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self._wait()

    def _wait(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=30)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One API request; (status, body)."""
        with closing(self.ask(method, path, body)) as connection:
            response = connection.getresponse()
            return response.status, response.read()

    def ask(self, method: str, path: str, body: object = None) -> http.client.HTTPConnection:
        """Send an API request; its answer is still to be read."""
        connection = http.client.HTTPConnection("engine")
        connection.sock = socket.socket(socket.AF_UNIX)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.sock.connect(str(self.socket))
            connection.request(method, path, None if body is None else json.dumps(body), headers)
        except BaseException:
            connection.close()
            raise
        return connection

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside the sandbox, with DOCKER_HOST and CORTEN_HOST set to this engine."""
        environment = {**os.environ, "DOCKER_HOST": self.docker_host, "CORTEN_HOST": self.docker_host}
        done = subprocess.run(
            self.sandbox.command(*arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command inside the sandbox without waiting for it; its output is piped."""
        environment = {**os.environ, "DOCKER_HOST": self.docker_host, "CORTEN_HOST": self.docker_host}
        return subprocess.Popen(
            self.sandbox.command(*arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        """End everything and remove everything."""
        self.sandbox.close()
        if self._process is not None:
            self._process.wait()
        remove_cgroups(self.cgroup)
        for path in (self.directory, self.exec_root):
            with suppress(OSError):
                delete_tree(str(path))  # shutil's gives up on deep trees, as hostile containers make them
