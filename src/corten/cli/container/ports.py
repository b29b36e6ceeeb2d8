"""`-p` and `--expose`: `[IP:][HOST[-HOST]:]PORT[-PORT][/PROTO]` to the API's port maps."""

from __future__ import annotations

from corten.cli.addresses import is_address
from corten.cli.errors import HintedError

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
            raise HintedError(f"invalid port format for --expose: {item}")
        text, _, protocol = item.partition("/")
        first, last = _range(text, f"invalid range format for --expose: {item}, error: ", why=True)
        found += [f"{port}/{protocol.lower() or 'tcp'}" for port in range(first, last + 1)]
    return found


def _short_form(item: str) -> list[tuple[str, str, str]]:
    rest, _, protocol = item.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise HintedError(f"invalid proto: {protocol}")
    head, _, container = rest.rpartition(":")
    address, colon, host = head.rpartition(":")
    if not colon:
        address, host = "", head
    address = address.removeprefix("[").removesuffix("]")
    if address and not is_address(address):
        raise HintedError(f"invalid IP address: {address}")
    if not container:
        raise HintedError(f"no port specified: {item}<empty>")
    first, last = _range(container, f"invalid containerPort: {container}")
    if not host:
        return [(f"{port}/{protocol}", address, "") for port in range(first, last + 1)]
    host_first, host_last = _range(host, f"invalid hostPort: {host}")
    if first == last and host_first != host_last:
        return [(f"{first}/{protocol}", address, host)]  # the engine picks one of the range
    if last - first != host_last - host_first:
        raise HintedError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [(f"{first + i}/{protocol}", address, str(host_first + i)) for i in range(last - first + 1)]


def _long_form(item: str) -> list[tuple[str, str, str]]:
    fields = {}
    for part in item.split(","):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise HintedError(f"invalid field {part}")
        fields[key.strip().lower()] = value
    if unknown := fields.keys() - {"protocol", "mode", "target", "published"}:
        raise HintedError(f"invalid field key {min(unknown)}")
    if "target" not in fields:
        raise HintedError("missing mandatory field 'target'")
    port = f"{fields['target']}/{fields.get('protocol', 'tcp').lower()}"
    return [(port, "", fields.get("published", ""))]


def _range(text: str, problem: str, *, why: bool = False) -> tuple[int, int]:
    """`80` or `80-90`; with `why` the number's own trouble is added to the text of the error."""
    first, dash, last = text.partition("-")
    numbers = []
    for number in (first, last if dash else first):
        valid = number.isascii() and number.isdigit()
        if not valid or int(number) > _MAX_PORT:
            trouble = "value out of range" if valid else "invalid syntax"
            reason = f'strconv.ParseUint: parsing "{number}": {trouble}'
            raise HintedError(problem + reason if why else problem)
        numbers.append(int(number))
    if numbers[0] > numbers[1]:
        reason = f"invalid range specified for port: {text}"
        raise HintedError(problem + reason if why else problem)
    return numbers[0], numbers[1]
