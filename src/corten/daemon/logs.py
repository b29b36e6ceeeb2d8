"""The engine's own log, on stderr: text as logfmt, or JSON, one line an event."""

from __future__ import annotations

import json
import logging
import re
import sys
import time

from corten.daemon.config import ConfigError, DaemonConfig

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# user:password@ in URLs, and what follows Authorization or a token's name
_SECRETS = re.compile(r"(?i)(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?:bearer|basic)\s+[\w.~+/=-]{8,}")


def configure_logging(config: DaemonConfig) -> None:
    """Set up the root logger. Raises ConfigError for unknown levels and formats."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(config.text("log-format") or "text"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(config)


def set_level(config: DaemonConfig) -> None:
    """`--debug` and `--log-level`. Raises ConfigError."""
    name = "debug" if config.flag("debug") else config.text("log-level") or "info"
    if name not in _LEVELS:
        raise ConfigError(f"invalid logging level: {name}")
    logging.getLogger().setLevel(_LEVELS[name])


def _formatter(name: str) -> logging.Formatter:
    if name == "json":
        return _Json()
    if name == "text":
        return _Text()
    raise ConfigError(f"invalid log format: {name}")


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        + f".{int(record.msecs):03d}Z",
        "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
        "msg": record.getMessage(),
    }
    fields.update({key: str(value) for key, value in vars(record).items() if key not in _STANDARD})
    if record.exc_info:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return {key: _SECRETS.sub("***", value) for key, value in fields.items()}


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record))


def _quoted(text: str) -> str:
    plain = text and all(c.isprintable() and c not in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
