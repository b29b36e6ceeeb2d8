"""`-p` and `--expose`: `[IP:][HOST[-HOST]:]PORT[-PORT][/PROTO]` to the API's port maps."""

from __future__ import annotations

from corten.cli.errors import ExitError

_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535


def publish(items: list[str]) -> dict[str, list[dict[str, str]]]:
    """Port bindings by `PORT/PROTO`. Raises ExitError with Docker's texts."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for item in items:
        for port, address, host_port in _long_form(item) if "=" in item else _short_form(item):
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": host_port})
    return bindings


def expose(items: list[str]) -> list[str]:
    """Exposed ports as `PORT/PROTO`."""
    found = []
    for item in items:
        if ":" in item:
            raise ExitError(f"invalid port format for --expose: {item}", 125)
        text, _, protocol = item.partition("/")
        first, last = _range(text, f"invalid range format for --expose: {item}, error: ")
        found += [f"{port}/{protocol.lower() or 'tcp'}" for port in range(first, last + 1)]
    return found


def _short_form(item: str) -> list[tuple[str, str, str]]:
    rest, _, protocol = item.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise ExitError(f"invalid proto: {protocol}", 125)
    head, _, container = rest.rpartition(":")
    address, colon, host = head.rpartition(":")
    if not colon:
        address, host = "", head
    address = address.removeprefix("[").removesuffix("]")
    if address and not _is_address(address):
        raise ExitError(f"invalid IP address: {address}", 125)
    if not container:
        raise ExitError(f"no port specified: {item}<empty>", 125)
    first, last = _range(container, f"invalid containerPort: {container}", exact=True)
    if not host:
        return [(f"{port}/{protocol}", address, "") for port in range(first, last + 1)]
    host_first, host_last = _range(host, f"invalid hostPort: {host}", exact=True)
    if first == last and host_first != host_last:
        return [(f"{first}/{protocol}", address, host)]  # the engine picks one of the range
    if last - first != host_last - host_first:
        raise ExitError(f"invalid ranges specified for container and host Ports: {container} and {host}", 125)
    return [(f"{first + i}/{protocol}", address, str(host_first + i)) for i in range(last - first + 1)]


def _long_form(item: str) -> list[tuple[str, str, str]]:
    fields = {}
    for part in item.split(","):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise ExitError(f"invalid field {part}", 125)
        fields[key.strip().lower()] = value
    if unknown := fields.keys() - {"protocol", "mode", "target", "published"}:
        raise ExitError(f"invalid field key {min(unknown)}", 125)
    if "target" not in fields:
        raise ExitError("missing mandatory field 'target'", 125)
    port = f"{fields['target']}/{fields.get('protocol', 'tcp').lower()}"
    return [(port, "", fields.get("published", ""))]


def _range(text: str, problem: str, *, exact: bool = False) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (first, last if dash else first)
    if all(n.isascii() and n.isdigit() and int(n) <= _MAX_PORT for n in numbers):
        low, high = map(int, numbers)
        if low <= high:
            return low, high
    raise ExitError(problem if exact else f"{problem}invalid port: {text}", 125)


def _is_address(text: str) -> bool:
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text.partition("%")[0])
    except OSError:
        return False
    return True
