"""Log drivers that send: syslog, gelf, fluentd, journald. Their options, as the log writer needs them.

Source: Docker's pages on these drivers. Names are resolved, and servers tried, when the container starts: the
log writer waits for nobody.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from corten.engine.containers.config import command_line
from corten.engine.containers.container import Container
from corten.engine.containers.logtags import attributes, tag_of
from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.units import format_time, parse_binary_size, parse_size

REMOTE_OPTIONS: dict[str, frozenset[str]] = {
    "syslog": frozenset(
        {
            *("syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert"),
            *("syslog-tls-key", "syslog-tls-skip-verify"),
        }
    ),
    "gelf": frozenset(
        {
            *("gelf-address", "gelf-compression-type", "gelf-compression-level", "gelf-tcp-max-reconnect"),
            "gelf-tcp-reconnect-delay",
        }
    ),
    "fluentd": frozenset(
        {
            *("fluentd-address", "fluentd-async", "fluentd-async-connect", "fluentd-buffer-limit"),
            *("fluentd-async-reconnect-interval", "fluentd-retry-wait", "fluentd-max-retries"),
            *("fluentd-sub-second-precision", "fluentd-write-timeout", "fluentd-request-ack"),
        }
    ),
    "journald": frozenset(),
}
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
_SYSLOG_STYLES = ("", "rfc3164", "rfc5424", "rfc5424micro")
_LOCAL_SYSLOGS = ("/dev/log", "/var/run/syslog", "/var/run/log")
_JOURNAL = "/run/systemd/journal/socket"
_REACH_S = 5.0
_NOT_IN_FIELD = re.compile(r"[^A-Z0-9_]")


def remote_target(driver: str, options: Mapping[str, str], container: Container | None) -> dict[str, object]:
    """The log writer's `remote`, its address not resolved yet. container: None only checks the options.

    Raises InvalidParameter, NotSupported.
    """
    makers = {"syslog": _syslog, "gelf": _gelf, "fluentd": _fluentd, "journald": _journald}
    tag = tag_of(container, options, "{{.ID}}")
    extra = attributes(container, options) if container else {}
    remote = {
        **makers[driver](options, container, tag, extra),
        "format": driver,
        "mode": options.get("mode") or "blocking",
    }
    if size := buffer_bytes(options):
        remote["max_buffer"] = size
    return remote


def buffer_bytes(options: Mapping[str, str]) -> int:
    """The option `max-buffer-size`, 0 = not given. Raises InvalidParameter."""
    text = options.get("max-buffer-size", "")
    try:
        return parse_binary_size(text) if text else 0
    except ValueError as e:
        raise InvalidParameter(str(e)) from e


def reach(remote: dict[str, object]) -> None:
    """Resolve the address, and see that somebody is there. Raises InternalError. Blocks."""
    network, address = str(remote["network"]), remote["address"]
    try:
        if isinstance(address, tuple):
            kind = socket.SOCK_DGRAM if network == "udp" else socket.SOCK_STREAM
            remote["address"] = address = socket.getaddrinfo(address[0], address[1], type=kind)[0][4][:2]
        if network in ("tcp", "tcp+tls") and not remote.get("lazily") and isinstance(address, tuple):
            socket.create_connection(address, timeout=_REACH_S).close()
        elif network in ("unix", "unixgram") and not remote.get("lazily"):
            _try_local(remote, str(address))
    except OSError as e:
        where = ":".join(map(str, address)) if isinstance(address, tuple) else address
        reason = (e.strerror or str(e)).lower()
        raise InternalError(f"failed to initialize logging driver: dial {network} {where}: {reason}") from e


def _try_local(remote: dict[str, object], path: str) -> None:
    """Syslog's sockets may be of either kind."""
    kinds = [("unixgram", socket.SOCK_DGRAM), ("unix", socket.SOCK_STREAM)]
    if remote["network"] == "unix":
        kinds.reverse()
    failure: OSError | None = None
    for network, kind in kinds:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            try:
                sock.connect(path)
            except OSError as e:
                failure = failure or e
                continue
        remote["network"] = network
        return
    assert failure is not None
    raise failure


def _address(option: str, text: str, networks: tuple[str, ...], port: int) -> tuple[str, object]:
    """(network, (host, port) or path) of `network://...`. Raises InvalidParameter."""
    network, separator, rest = text.partition("://")
    if not separator or network not in networks:
        raise InvalidParameter(f"{option} should be in form {networks[0]}://address, got {text}")
    if network in ("unix", "unixgram"):
        if not rest.startswith("/"):
            raise InvalidParameter(f"{option}: the socket's path must be absolute: {text}")
        return network, rest
    host, colon, number = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, number = rest, str(port)
    host = host.strip("[]")
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise InvalidParameter(f"{option}: invalid address: {text}")
    return network, (host, int(number))


def _syslog(
    options: Mapping[str, str], container: Container | None, tag: str, extra: Mapping[str, str]
) -> dict[str, object]:
    text = options.get("syslog-address", "")
    networks = ("udp", "tcp", "tcp+tls", "unix", "unixgram")
    network: str = "unixgram"
    address: object = _local_syslog() if container and not text else ""
    if text:
        network, address = _address("syslog-address", text, networks, 514)
    style = options.get("syslog-format", "")
    if style not in _SYSLOG_STYLES:
        raise InvalidParameter("Invalid syslog format")
    return {
        "network": network,
        "address": address,
        "facility": _facility(options.get("syslog-facility", "")),
        "style": style,
        "counted": network == "tcp+tls" and style.startswith("rfc5424"),
        "tag": tag,
        "hostname": os.uname().nodename,
        "pid": os.getpid(),
        "tls": {
            "ca": options.get("syslog-tls-ca-cert", ""),
            "cert": options.get("syslog-tls-cert", ""),
            "key": options.get("syslog-tls-key", ""),
            "skip_verify": options.get("syslog-tls-skip-verify", "") != "",
            "name": address[0] if isinstance(address, tuple) else "",
        },
    }


def _local_syslog() -> str:
    return next((path for path in _LOCAL_SYSLOGS if os.path.exists(path)), _LOCAL_SYSLOGS[0])


def _facility(text: str) -> int:
    if not text:
        return _FACILITIES.index("daemon")
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isdigit() and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidParameter("invalid syslog facility")


def _gelf(
    options: Mapping[str, str], container: Container | None, tag: str, extra: Mapping[str, str]
) -> dict[str, object]:
    if not options.get("gelf-address"):
        raise InvalidParameter("gelf-address is a required parameter")
    network, address = _address("gelf-address", options["gelf-address"], ("udp", "tcp"), 12201)
    compression = options.get("gelf-compression-type", "gzip")
    if compression not in ("gzip", "zlib", "none"):
        raise InvalidParameter(f"gelf: invalid compression type: {compression}")
    level = options.get("gelf-compression-level", "1")
    if level not in ("-1", *"0123456789"):
        raise InvalidParameter(f"gelf: invalid compression level: {level}")
    fields: dict[str, str] = {}
    if container is not None:
        path, arguments = command_line(container.record.config)
        fields = {
            "_container_id": container.id,
            "_container_name": container.name,
            "_image_id": container.record.image_id,
            "_image_name": container.record.config.image,
            "_command": " ".join([path, *arguments]),
            "_tag": tag,
            "_created": format_time(container.record.created_ns),
            **{f"_{name}": value for name, value in extra.items()},
        }
    return {
        "network": network,
        "address": address,
        "compression": compression,
        "level": int(level),
        "host": os.uname().nodename,
        "fields": fields,
    }


def _fluentd(
    options: Mapping[str, str], container: Container | None, tag: str, extra: Mapping[str, str]
) -> dict[str, object]:
    if options.get("fluentd-request-ack", "false") != "false":
        raise NotSupported("fluentd-request-ack is not supported by Corten")
    text = options.get("fluentd-address") or "127.0.0.1:24224"
    if "://" not in text:
        text = f"tcp://{text}"
    network, address = _address("fluentd-address", text, ("tcp", "unix"), 24224)
    remote: dict[str, object] = {
        "network": network,
        "address": address,
        "tag": tag,
        "precise": options.get("fluentd-sub-second-precision", "") == "true",
        "lazily": "true" in (options.get("fluentd-async"), options.get("fluentd-async-connect")),
        "fields": {},
    }
    if limit := options.get("fluentd-buffer-limit", ""):
        try:
            remote["max_buffer"] = parse_size(limit)
        except ValueError as e:
            raise InvalidParameter(str(e)) from e
    if container is not None:
        names = {"container_id": container.id, "container_name": f"/{container.name}"}
        remote["fields"] = {**names, **extra}
    return remote


def _journald(
    options: Mapping[str, str], container: Container | None, tag: str, extra: Mapping[str, str]
) -> dict[str, object]:
    fields: dict[str, str] = {}
    if container is not None:
        fields = {
            "CONTAINER_ID": container.id[:12],
            "CONTAINER_ID_FULL": container.id,
            "CONTAINER_NAME": container.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": container.record.config.image,
            "SYSLOG_IDENTIFIER": tag,
            **{_journal_field(name): value for name, value in extra.items()},
        }
    return {"network": "unixgram", "address": _JOURNAL, "fields": fields}


def _journal_field(name: str) -> str:
    """As systemd wants it: capitals, digits and underscores, none of which in front."""
    return _NOT_IN_FIELD.sub("_", name.upper()).lstrip("_") or "LABEL"
