"""What commands get to work with: the engine, the standard streams, the configuration."""

from __future__ import annotations

import os
import sys

from corten.client import address
from corten.client.engine import Engine
from corten.client.errors import NoEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Options

DEFAULT_COLUMNS = 80


class Context:
    """One invocation. `host` is where the engine is; it is connected to at the first call."""

    def __init__(self, options: Options, host: str | None = None) -> None:
        self.host = host or address.find(options.items("host"))
        self.autostart = not options.on("no-autostart")
        self._options = options
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine. If none is running at the default socket and we are root, one is started."""
        if self._engine is None:
            where = address.parse(self.host, self._tls())
            self._engine = Engine(where, version=os.environ.get("DOCKER_API_VERSION") or None)
            if where.path == address.DEFAULT_SOCKET:
                self._make_sure_it_runs(where)
        return self._engine

    def _tls(self) -> address.TLSFiles | None:
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
