"""An engine that behaves, for the command line's tests: containers are processes of this machine.

Speaks HTTP/1.1 on a unix socket, one thread a connection. `documents` holds what plain GETs answer,
`requests` what was asked, so that tests can also look at bodies.
"""

import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
import urllib.parse
from fcntl import ioctl


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Container:
    def __init__(self, ident, name, body):
        self.id, self.name, self.body = ident, name, body
        self.process = None
        self.master = None
        self.attached = None
        self.size = None
        self.exit_code = None
        self.ended = threading.Event()
        self.done = threading.Event()  # output delivered as well

    def start(self):
        command = (self.body.get("Entrypoint") or []) + (self.body.get("Cmd") or ["true"])
        env = {"PATH": os.environ["PATH"], **dict(e.partition("=")[::2] for e in self.body.get("Env") or ())}
        stdin = subprocess.PIPE if self.body.get("OpenStdin") else subprocess.DEVNULL
        try:
            if self.body.get("Tty"):
                self.master, slave = pty.openpty()
                self.process = subprocess.Popen(
                    command,
                    stdin=slave,
                    stdout=slave,
                    stderr=slave,
                    env=env,
                    start_new_session=True,
                    preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
                )
                os.close(slave)
            else:
                self.process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=env,
                    start_new_session=True,
                )
        except FileNotFoundError:
            raise Refused(
                400,
                "failed to create task for container: exec: "
                f'"{command[0]}": executable file not found in $PATH: unknown',
            ) from None
        except PermissionError:
            raise Refused(400, f'exec: "{command[0]}": permission denied: unknown') from None
        threading.Thread(target=self._reap, daemon=True).start()

    def _reap(self):
        pumps = []
        if self.master is not None:
            pumps = [threading.Thread(target=self._pump, args=(self.master, None), daemon=True)]
        else:
            pumps = [
                threading.Thread(target=self._pump, args=(self.process.stdout.fileno(), 1), daemon=True),
                threading.Thread(target=self._pump, args=(self.process.stderr.fileno(), 2), daemon=True),
            ]
        for pump in pumps:
            pump.start()
        code = self.process.wait()
        for pump in pumps:
            pump.join()
        if self.attached:
            try:
                self.attached.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.exit_code = code if code >= 0 else 128 - code
        self.ended.set()

    def _pump(self, fd, stream):
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            if not data:
                return
            if self.attached:
                head = struct.pack(">BxxxL", stream, len(data)) if stream else b""
                try:
                    self.attached.sendall(head + data)
                except OSError:
                    self.attached = None

    def feed(self, conn, early):
        """Bytes of the client to the process; runs until the client closes its half."""
        data = early
        while True:
            if data and self.process:
                if self.master is not None:
                    os.write(self.master, data)
                else:
                    self.process.stdin.write(data)
                    self.process.stdin.flush()
            try:
                data = conn.recv(65536)
            except OSError:
                break
            if not data:
                break
            while self.process is None:
                self.ended.wait(0.01)
        if self.master is None and self.process and self.process.stdin:
            self.process.stdin.close()


class FakeEngine:
    def __init__(self, path, documents=None):
        self.path = str(path)
        self.documents = documents or {}
        self.streams = {}
        self.containers = {}
        self.images = {"busybox:latest", "busybox"}
        self.requests = []
        self.max_version = 1.51
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def host(self):
        return f"unix://{self.path}"

    def close(self):
        # a thread still in accept() would serve whoever gets the descriptor's number next: the next engine
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.forget_containers()

    def forget_containers(self):
        for container in self.containers.values():
            if container.process:
                container.process.kill()
                container.ended.wait(5)
                for pipe in (container.process.stdin, container.process.stdout, container.process.stderr):
                    if pipe:
                        pipe.close()
        self.containers.clear()

    def last(self, method, path):
        return next(r for r in reversed(self.requests) if r[0] == method and r[1] == path)

    # -- HTTP

    def _accept(self):
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        reader = conn.makefile("rb")
        try:
            while line := reader.readline():
                method, target, _ = line.decode().split(" ", 2)
                headers = {}
                while (row := reader.readline().strip()) != b"":
                    key, _, value = row.decode().partition(":")
                    headers[key.lower()] = value.strip()
                body = self._body(reader, headers)
                if self._answer(conn, reader, method, target, headers, body) == "hijacked":
                    return
        except (OSError, ValueError):
            pass
        finally:
            reader.close()
            conn.close()

    def _body(self, reader, headers):
        if headers.get("transfer-encoding") == "chunked":
            data = b""
            while size := int(reader.readline(), 16):
                data += reader.read(size)
                reader.readline()
            reader.readline()
            return data
        return reader.read(int(headers.get("content-length", 0)))

    def _answer(self, conn, reader, method, target, headers, body):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path)
        if path.startswith("/v1."):
            version, _, rest = path[2:].partition("/")
            path = "/" + rest
            if float(version) > self.max_version:
                message = (
                    f"client version {version} is too new. "
                    f"Maximum supported API version is {self.max_version}"
                )
                return self._send(conn, 400, {"message": message})
        self.requests.append((method, path, query, headers, body))
        try:
            return self._route(conn, reader, method, path, query, body)
        except Refused as e:
            return self._send(conn, e.status, {"message": str(e)})

    def _send(self, conn, status, document=None, content_type="application/json"):
        data = (
            b""
            if document is None
            else document
            if isinstance(document, bytes)
            else json.dumps(document).encode()
        )
        head = (
            f"HTTP/1.1 {status} X\r\nApi-Version: {self.max_version}\r\nOstype: linux\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        conn.sendall(head.encode() + data)

    def _send_chunks(self, conn, chunks):
        conn.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for chunk in chunks:
            conn.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        conn.sendall(b"0\r\n\r\n")

    # -- routes

    def _route(self, conn, reader, method, path, query, body):
        if path == "/_ping":
            head = "HTTP/1.1 200 OK\r\nOstype: linux\r\nContent-Length: 2\r\n"
            head += f"Api-Version: {self.max_version}\r\n\r\n"
            conn.sendall(head.encode() + (b"" if method == "HEAD" else b"OK"))
            return None
        key = f"{method} {path}"
        if key in self.streams:
            return self._send_chunks(conn, self.streams[key])
        if key in self.documents:
            found = self.documents[key]
            return self._send(conn, 200, found(query, body) if callable(found) else found)
        parts = path.strip("/").split("/")
        if parts[0] == "containers" or parts[0] == "exec":
            return self._container(conn, reader, method, parts, query, body)
        if path == "/images/create":
            return self._pull(conn, query)
        raise Refused(404, "page not found")

    def _pull(self, conn, query):
        familiar = query["fromImage"].removeprefix("docker.io/library/")
        name = f"{familiar}:{query.get('tag', 'latest')}"
        if "missing" in name:
            raise Refused(404, f"pull access denied for {familiar}, repository does not exist")
        self.images |= {name, familiar}
        messages = [
            {"status": f"Pulling from library/{familiar}", "id": query.get("tag")},
            {"status": "Pulling fs layer", "progressDetail": {}, "id": "0123456789ab"},
            {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "id": "0123456789ab"},
            {"status": "Pull complete", "progressDetail": {}, "id": "0123456789ab"},
            {"status": f"Status: Downloaded newer image for {name}"},
        ]
        self._send_chunks(conn, [json.dumps(m).encode() + b"\r\n" for m in messages])

    def find(self, ref):
        for container in self.containers.values():
            if ref == container.name or container.id.startswith(ref):
                return container
        raise Refused(404, f"No such container: {ref}")

    def _container(self, conn, reader, method, parts, query, body):
        if parts[1] == "create":
            return self._create(conn, query, body)
        container = self.find(parts[1])
        action = parts[2] if len(parts) > 2 else ""
        if method == "DELETE":
            if container.process and not container.ended.is_set() and query.get("force") != "1":
                raise Refused(409, "cannot remove container: container is running")
            self.containers.pop(container.id)
            return self._send(conn, 204)
        if action == "start":
            if container.process:
                return self._send(conn, 304)
            try:
                container.start()
            except Refused:
                if container.body.get("HostConfig", {}).get("AutoRemove"):
                    self.containers.pop(container.id)
                container.exit_code = 127
                container.ended.set()
                raise
            return self._send(conn, 204)
        if action == "wait":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            container.ended.wait()
            data = json.dumps({"StatusCode": container.exit_code}).encode()
            conn.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
            return None
        if action == "kill":
            name = query.get("signal", "SIGKILL")
            number = (
                int(name)
                if name.isdigit()
                else getattr(signal, name if name.startswith("SIG") else f"SIG{name}")
            )
            if not container.process or container.ended.is_set():
                raise Refused(409, f"container {container.id} is not running")
            container.process.send_signal(number)
            return self._send(conn, 204)
        if action == "stop":
            if container.ended.is_set():
                return self._send(conn, 304)
            container.process.terminate()
            container.ended.wait(5)
            return self._send(conn, 204)
        if action == "resize":
            container.size = (int(query["h"]), int(query["w"]))
            if container.master is not None:
                ioctl(container.master, termios.TIOCSWINSZ, struct.pack("HHHH", *container.size, 0, 0))
            return self._send(conn, 200)
        if action == "attach":
            return self._attach(conn, reader, container)
        if action == "json":
            state = {
                "Running": bool(container.process) and not container.ended.is_set(),
                "ExitCode": container.exit_code,
            }
            document = {
                "Id": container.id,
                "Name": f"/{container.name}",
                "State": state,
                "Config": container.body,
            }
            return self._send(conn, 200, document)
        raise Refused(404, "page not found")

    def _create(self, conn, query, body):
        document = json.loads(body)
        if document["Image"] not in self.images:
            raise Refused(404, f"No such image: {document['Image']}")
        name = query.get("name", f"fake_{len(self.containers)}")
        if any(c.name == name for c in self.containers.values()):
            raise Refused(409, f'Conflict. The container name "/{name}" is already in use')
        ident = os.urandom(32).hex()
        self.containers[ident] = Container(ident, name, document)
        return self._send(conn, 201, {"Id": ident, "Warnings": []})

    def _attach(self, conn, reader, container):
        kind = "raw" if container.body.get("Tty") else "multiplexed"
        conn.sendall(
            b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            b"Content-Type: application/vnd.docker.%b-stream\r\n\r\n" % kind.encode()
        )
        container.attached = conn
        container.feed(conn, b"")
        container.ended.wait()
        return "hijacked"
