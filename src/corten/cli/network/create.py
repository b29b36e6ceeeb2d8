"""`corten network create`."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.container.environment import pairs
from corten.cli.context import Context, out
from corten.cli.egress import egress
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create(context: Context, options: Options, arguments: list[str]) -> int:
    """Create a network and print its id."""
    body: dict[str, Any] = {
        "Name": arguments[0],
        "Driver": options["driver"],
        "Scope": options["scope"],
        "IPAM": {
            "Driver": options["ipam-driver"],
            "Options": pairs(options.items("ipam-opt")),
            "Config": ipam_config(
                options.items("subnet"),
                options.items("ip-range"),
                options.items("gateway"),
                pairs(options.items("aux-address")),
            ),
        },
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "ConfigOnly": options.on("config-only"),
        "Options": pairs(options.items("opt")),
        "Labels": pairs(options.items("label")),
    }
    if options.given("egress"):
        body["Options"]["corten.egress"] = egress(options.items("egress"))
    if options["config-from"]:
        body["ConfigFrom"] = {"Network": options["config-from"]}
    for flag, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if options.given(flag):
            body[key] = options.on(flag)
    answer = context.engine.post("/networks/create", body=body)
    if answer.get("Warning"):
        out(f"WARNING: {answer['Warning']}\n")
    out(f"{answer['Id']}\n")
    return 0


def ipam_config(
    subnets: list[str], ranges: list[str], gateways: list[str], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """The subnets, each with what lies within it. Raises ExitError with Docker's texts."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ExitError("every ip-range or gateway must have a corresponding subnet")
    entries = {text: _Entry(text) for text in subnets}
    for one in entries.values():
        for other in entries.values():
            if one is not other and one.meets(other):
                raise ExitError("multiple overlapping subnet configuration is not supported")
    for text in ranges:
        _entry_with(entries, text, f"no matching subnet for range {text}").set("IPRange", text)
    for text in gateways:
        _entry_with(entries, text, f"no matching subnet for gateway {text}").set("Gateway", text)
    for name, text in auxiliary.items():
        entry = _entry_with(entries, text, f"no matching subnet for aux-address {text}")
        entry.document.setdefault("AuxiliaryAddresses", {})[name] = text
    return [entry.document for entry in entries.values()]


class _Entry:
    """One subnet of the request."""

    def __init__(self, text: str) -> None:
        self.bits, self.length, self.size = _parse(text)
        self.document: dict[str, Any] = {"Subnet": text}

    def contains(self, text: str) -> bool:
        bits, length, size = _parse(text)
        shift = self.size - self.length
        return size == self.size and length >= self.length and bits >> shift == self.bits >> shift

    def meets(self, other: _Entry) -> bool:
        shift = self.size - min(self.length, other.length)
        return self.size == other.size and self.bits >> shift == other.bits >> shift

    def set(self, key: str, text: str) -> None:
        if key in self.document:
            what = {"IPRange": "ranges", "Gateway": "gateways"}[key]
            raise ExitError(
                f"cannot configure multiple {what} ({text}, {self.document[key]}) on the same subnet"
                f" ({self.document['Subnet']})"
            )
        self.document[key] = text


def _entry_with(entries: dict[str, _Entry], text: str, problem: str) -> _Entry:
    for entry in entries.values():
        if entry.contains(text):
            return entry
    raise ExitError(problem)


def _parse(text: str) -> tuple[int, int, int]:
    """(address as a number, length of the prefix, bits of the address)."""
    import socket

    address, slash, length = text.partition("/")
    family, size = (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)
    try:
        bits = int.from_bytes(socket.inet_pton(family, address), "big")
        number = int(length) if slash else size
    except (OSError, ValueError):
        raise ExitError(f"invalid CIDR address: {text}") from None
    if not 0 <= number <= size:
        raise ExitError(f"invalid CIDR address: {text}")
    return bits, number, size


CREATE = Command(
    "[OPTIONS] NETWORK",
    create,
    (
        Flag("attachable", "bool", "Enable manual container attachment"),
        Flag(
            "aux-address",
            "map",
            "Auxiliary IPv4 or IPv6 addresses used by Network driver",
            show_default="map[]",
        ),
        Flag("config-from", "string", "The network from which to copy the configuration"),
        Flag("config-only", "bool", "Create a configuration only network"),
        Flag(
            "driver", "string", "Driver to manage the Network", "d", default="bridge", show_default='"bridge"'
        ),
        Flag("egress", "list", "What may be reached outside (deny, allow=DESTINATION[:PORT][/PROTO],...)"),
        Flag("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag("ingress", "bool", "Create swarm routing-mesh network"),
        Flag("internal", "bool", "Restrict external access to the network"),
        Flag("ip-range", "strings", "Allocate container ip from a sub-range"),
        Flag(
            "ipam-driver",
            "string",
            "IP Address Management Driver",
            default="default",
            show_default='"default"',
        ),
        Flag("ipam-opt", "map", "Set IPAM driver specific options", show_default="map[]"),
        Flag("ipv4", "bool", "Enable or disable IPv4 address assignment", default=True, show_default="true"),
        Flag("ipv6", "bool", "Enable or disable IPv6 address assignment"),
        Flag("label", "list", "Set metadata on a network"),
        Flag("opt", "map", "Set driver specific options", "o", show_default="map[]"),
        Flag("scope", "string", "Control the network's scope"),
        Flag("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
    ),
    least=1,
    most=1,
)
