"""`corten system exposure`: what of the running containers can be reached, and from where. Not Docker's."""

from __future__ import annotations

from corten.cli import table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Options
from corten.cli.format_flag import FOR_LISTS
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LISTING = table.Listing(
    ("Container", "Ports", "At", "From", "Egress"),
    {
        "Container": "CONTAINER",
        "Ports": "PORTS",
        "At": "REACHABLE AT",
        "From": "FROM",
        "Egress": "REACHES OUTSIDE",
    },
)
_EGRESS = "corten.egress"
_LINK_DRIVERS = ("macvlan", "ipvlan")


def show_exposure(context: Context, options: Options, _: list[str]) -> int:
    """Print a line for every way to a container."""
    networks: dict[str, dict[str, Any]] = {}
    rows = []
    for container in context.engine.get("/containers/json"):
        name = str(container["Names"][0]).lstrip("/")
        places = (container.get("NetworkSettings") or {}).get("Networks") or {}
        for place in places:
            if place not in networks:
                networks[place] = context.engine.get(f"/networks/{quote(place)}")
        reaches = egress(container, networks)
        for ports, at, source in ways(container, networks):
            rows.append(
                table.Row({"Container": name, "Ports": ports, "At": at, "From": source, "Egress": reaches})
            )
    out(_LISTING.text(rows, options["format"]))
    return 0


def ways(container: dict[str, Any], networks: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(ports, where, from where) of a listed container; the widest first. `networks`: documents by name."""
    if (container.get("HostConfig") or {}).get("NetworkMode") == "host":
        yield "all", "the host's addresses", "anywhere, as the host's firewall allows"
        return
    for port in container.get("Ports") or ():
        if port.get("PublicPort"):
            address = port.get("IP", "")
            shown = f"[{address}]" if ":" in address else address
            yield f"{port['PrivatePort']}/{port['Type']}", f"{shown}:{port['PublicPort']}", _source(address)
    places = (container.get("NetworkSettings") or {}).get("Networks") or {}
    for name, place in places.items():
        addresses = [place.get("IPAddress"), place.get("GlobalIPv6Address")]
        where = ", ".join(address for address in addresses if address)
        if where:
            yield "all", where, _neighbours(name, networks.get(name) or {})


def egress(container: dict[str, Any], networks: dict[str, dict[str, Any]]) -> str:
    """What a listed container may reach outside, by its own policy and by those of its networks."""
    policies = [_allowed((container.get("Labels") or {}).get(_EGRESS, ""))]
    for name in (container.get("NetworkSettings") or {}).get("Networks") or {}:
        allowed = _allowed(((networks.get(name) or {}).get("Options") or {}).get(_EGRESS, ""))
        policies.append(f"{name}: {allowed}" if allowed else "")
    return "; ".join(each for each in policies if each) or "anything"


def _allowed(policy: str) -> str:
    if policy == "deny":
        return "nothing"
    return policy.removeprefix("allow=").replace(",", ", ")


def _source(address: str) -> str:
    if address in ("0.0.0.0", "::", ""):  # noqa: S104 - what is shown, not what is bound
        return "anywhere"
    if address == "::1" or address.startswith("127."):
        return "this machine"
    return f"wherever {address} is reachable"


def _neighbours(name: str, network: dict[str, Any]) -> str:
    if network.get("Driver") in _LINK_DRIVERS:
        parent = (network.get("Options") or {}).get("parent", "")
        return f"the network of {parent}" if parent else f"containers on {name}"
    options = network.get("Options") or {}
    modes = [options.get(f"com.docker.network.bridge.gateway_mode_ipv{version}", "nat") for version in (4, 6)]
    if "nat-unprotected" in modes:
        return "wherever its network is routed to"
    if options.get("com.docker.network.bridge.enable_icc") == "false":
        return "this machine"
    return f"this machine, containers on {name}"


EXPOSURE = Command("[OPTIONS]", show_exposure, (FOR_LISTS,))
