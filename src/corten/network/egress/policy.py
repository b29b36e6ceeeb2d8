"""The words of an egress policy.

deny                                nothing
allow=DESTINATION[,DESTINATION...]  nothing else

DESTINATION   WHERE[:PORT[-PORT]][/tcp|/udp|/sctp]     a port without a protocol is TCP's
WHERE         198.51.100.7, 198.51.100.0/24, 2001:db8::/32, [2001:db8::7], example.com, *.example.com, *
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from corten.errors import InvalidParameter
from corten.network.values import PROTOCOLS, IPNetwork

OPTION = "corten.egress"
"""The driver option of a network and the label of a container that hold a policy."""

_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MOST_DESTINATIONS = 256
_MOST_CHARACTERS = 253  # of a name


@dataclass(frozen=True, slots=True)
class Service:
    """Ports of a protocol; everything without a protocol."""

    protocol: str = ""
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """What may be reached: `network`, or the addresses of `name` ("*.example.com": of all below it)."""

    network: IPNetwork | None = None
    name: str = ""
    service: Service = Service()


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be reached; nothing else. `text` is how it was written."""

    text: str
    allowed: tuple[Destination, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it."""
        return tuple(each.name for each in self.allowed if each.name)


def parse(text: str) -> Policy:
    """A policy. Raises InvalidParameter."""
    word, equals, rest = text.strip().partition("=")
    if word == "deny" and not equals:
        return Policy("deny")
    if word != "allow" or not rest:
        raise InvalidParameter(
            f"invalid egress policy {text!r}: use deny, or allow=DESTINATION[,DESTINATION...]"
        )
    items = [item.strip() for item in rest.split(",") if item.strip()]
    if not items or len(items) > _MOST_DESTINATIONS:
        raise InvalidParameter(
            f"an egress policy allows 1 to {_MOST_DESTINATIONS} destinations, not {len(items)}"
        )
    return Policy(
        "allow=" + ",".join(items), tuple(_unique(each for item in items for each in _destinations(item)))
    )


def _unique(found: Iterable[Destination]) -> Iterable[Destination]:
    return dict.fromkeys(found)


def _destinations(item: str) -> list[Destination]:
    where, protocol = _without_protocol(item)
    where, ports = _without_ports(where)
    service = _service(item, protocol, ports)
    if where == "*":
        return [Destination(network=ip_network(text), service=service) for text in ("0.0.0.0/0", "::/0")]
    try:
        return [Destination(network=ip_network(where.strip("[]"), strict=False), service=service)]
    except ValueError:
        pass
    name = where.lower().rstrip(".")
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARACTERS or re.fullmatch(r"[0-9.]*", name):
        raise InvalidParameter(
            f"invalid egress destination {item!r}: {where!r} is no address, subnet or name"
        )
    return [Destination(name=name, service=service)]


def _without_protocol(item: str) -> tuple[str, str]:
    head, _, last = item.rpartition("/")
    return (head, last) if head and last in PROTOCOLS else (item, "")


def _without_ports(text: str) -> tuple[str, str]:
    if text.startswith("["):
        inner, bracket, rest = text.partition("]")
        return inner + bracket, rest.removeprefix(":")
    if text.count(":") == 1:
        where, _, ports = text.partition(":")
        return where, ports or "-"  # "-": a colon without a number is an error
    return text, ""  # also IPv6 without brackets


def _service(item: str, protocol: str, ports: str) -> Service:
    if not ports:
        return Service(protocol, 0, 0)
    first, dash, last = ports.partition("-")
    numbers = [
        int(each) if re.fullmatch(r"[0-9]{1,5}", each) else 0 for each in (first, last if dash else first)
    ]
    if not 0 < numbers[0] <= numbers[1] <= 65535:
        raise InvalidParameter(f"invalid egress destination {item!r}: {ports!r} is no port or range of ports")
    return Service(protocol or "tcp", numbers[0], numbers[1])
