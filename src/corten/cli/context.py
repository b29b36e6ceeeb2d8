"""What commands get to work with: the engine, the standard streams, the configuration."""

from __future__ import annotations

import os
import sys

from corten.client import address
from corten.client.engine import Engine
from corten.client.errors import ClientError, NoEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Options
    from corten.client.contexts import StoredContext

DEFAULT_COLUMNS = 80
DEFAULT_CONTEXT = "default"


class Context:
    """One invocation. `host` is where the engine is; it is connected to at the first call."""

    def __init__(self, options: Options, host: str | None = None) -> None:
        self.autostart = not options.on("no-autostart")
        self._options = options
        self._host = host
        self._engine: Engine | None = None

    @property
    def context_name(self) -> str:
        """The context in use, "default" if it is none: --context, else none where the address is said, else
        DOCKER_CONTEXT, else the configuration's. Raises ClientError.
        """
        options = self._options
        given = options["context"] if options.has("context") else ""
        hosts = options.items("host")
        if given and hosts:
            raise ClientError("conflicting options: cannot specify both --host and --context")
        if given:
            return given
        if hosts or os.environ.get("CORTEN_HOST") or os.environ.get("DOCKER_HOST"):
            return DEFAULT_CONTEXT
        if named := os.environ.get("DOCKER_CONTEXT"):
            return named
        path = f"{self.config_folder}/config.json"
        if not os.path.exists(path):
            return DEFAULT_CONTEXT
        from corten.client import contexts

        return contexts.current(path) or DEFAULT_CONTEXT

    @property
    def host(self) -> str:
        """Where the engine is, as text. Raises ClientError."""
        if self._host is None:
            stored = self._stored()
            self._host = address.find(self._options.items("host")) if stored is None else stored.host
            self._host = self._host or address.DEFAULT_HOST
        return self._host

    def _stored(self) -> StoredContext | None:
        """The context in use, if it is not the default one. Raises ClientError."""
        name = self.context_name
        if name == DEFAULT_CONTEXT:
            return None
        from corten.client.contexts import ContextStore

        return ContextStore(self.config_folder).get(name)

    @property
    def place(self) -> address.Address:
        """The same, parsed, with its certificates. Raises ClientError."""
        return address.parse(self.host, self._tls())

    @property
    def engine(self) -> Engine:
        """The engine. If none is running at the default socket and we are root, one is started."""
        if self._engine is None:
            where = self.place
            self._engine = Engine(where, version=os.environ.get("DOCKER_API_VERSION") or None)
            if self._options.on("debug") or self._options["log-level"] == "debug":
                self._engine.trace = lambda text: err(f"DEBUG {text}\n")
            if where.path == address.DEFAULT_SOCKET:
                self._make_sure_it_runs(where)
        return self._engine

    def _tls(self) -> address.TLSFiles | None:
        stored = self._stored()
        if stored is not None:
            ca, cert, key = (stored.tls_file(name) for name in ("ca.pem", "cert.pem", "key.pem"))
            if not (ca or cert or stored.skip_verify):
                return None
            return address.TLSFiles(ca, cert, key, verify=not stored.skip_verify)
        options = self._options
        found = address.tls_from_environment()
        if not (options.on("tls") or options.on("tlsverify") or found):
            return None
        files = found or address.tls_from_environment({**os.environ, "DOCKER_TLS": "1"})
        assert files
        for name in ("ca", "cert", "key"):
            if options.given(f"tls{name}" if name != "ca" else "tlscacert"):
                setattr(files, name, options[f"tls{name}" if name != "ca" else "tlscacert"])
        if options.given("tlsverify"):
            files.verify = options.on("tlsverify")
        return files

    def _make_sure_it_runs(self, where: address.Address) -> None:
        from corten.client import transport

        try:
            transport.connect(where).close()
        except NoEngine as e:
            from corten.cli.autostart import start, wanted

            if e.denied or not wanted(self.autostart, self.config_folder):
                raise
            start(where.path)

    @property
    def config_folder(self) -> str:
        """Where Docker-compatible client configuration is: `--config`, DOCKER_CONFIG, or ~/.docker."""
        given = self._options["config"] or os.environ.get("DOCKER_CONFIG")
        return given or os.path.expanduser("~/.docker")

    def config(self) -> dict[str, Any]:
        """The client configuration, empty if there is none."""
        from corten.client import jsontext

        try:
            with open(f"{self.config_folder}/config.json", encoding="utf-8") as f:
                value = jsontext.loads(f.read())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def out(text: str) -> None:
    """Write text to stdout; bytes that were no UTF-8 come out as they went in."""
    write_all(1, text.encode("utf-8", "surrogateescape"))


def err(text: str) -> None:
    """Write text to stderr."""
    write_all(2, text.encode("utf-8", "surrogateescape"))


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything, unbuffered, in as many pieces as it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def columns() -> int:
    """Width of the terminal on stdout, 80 if it is none."""
    try:
        return os.get_terminal_size(1).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def program() -> list[str]:
    """The interpreter that runs us."""
    return [sys.executable]
