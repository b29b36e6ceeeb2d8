"""`corten network connect` and `disconnect`."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def connect(context: Context, options: Options, arguments: list[str]) -> int:
    """Connect a container."""
    network, container = arguments
    addresses: dict[str, Any] = {
        "IPv4Address": options["ip"],
        "IPv6Address": options["ip6"],
        "LinkLocalIPs": options.items("link-local-ip"),
    }
    settings: dict[str, Any] = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Aliases": options.items("alias"),
        "Links": options.items("link"),
        "DriverOpts": _driver_options(options),
        "GwPriority": options.number("gw-priority"),
    }
    body = {"Container": container, "EndpointConfig": settings}
    context.engine.post(f"/networks/{quote(network)}/connect", body=body)
    return 0


def disconnect(context: Context, options: Options, arguments: list[str]) -> int:
    """Disconnect a container."""
    network, container = arguments
    body = {"Container": container, "Force": options.on("force")}
    context.engine.post(f"/networks/{quote(network)}/disconnect", body=body)
    return 0


def _driver_options(options: Options) -> dict[str, str]:
    found = {}
    for text in options.items("driver-opt"):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ExitError("invalid key/value pair format in driver options")
        found[key] = value
    return found


CONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    connect,
    (
        Flag("alias", "strings", "Add network-scoped alias for the container"),
        Flag("driver-opt", "strings", "driver options for the network"),
        Flag(
            "gw-priority",
            "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        Flag("ip", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        Flag("ip6", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        Flag("link", "list", "Add link to another container"),
        Flag("link-local-ip", "strings", "Add a link-local address for the container"),
    ),
    least=2,
    most=2,
)
DISCONNECT = Command(
    "[OPTIONS] NETWORK CONTAINER",
    disconnect,
    (Flag("force", "bool", "Force the container to disconnect from a network", "f"),),
    least=2,
    most=2,
)
