"""`corten port`."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Options
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show_ports(context: Context, _: Options, words: list[str]) -> int:
    """Print where a container's ports are published, or only where one of them is."""
    name = words[0]
    document = context.engine.get(f"/containers/{quote(name)}/json")
    ports = document["NetworkSettings"]["Ports"] or {}
    if len(words) > 1:
        lines = [_address(binding) for binding in _published(ports, words[1], name)]
    else:
        lines = [
            f"{port} -> {_address(binding)}" for port, bindings in ports.items() for binding in bindings or ()
        ]
    out("".join(line + "\n" for line in sorted(lines, key=_natural)))
    return 0


def _published(ports: dict[str, Any], wanted: str, name: str) -> list[dict[str, str]]:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdigit() and int(number) < 1 << 16):
        why = f'strconv.ParseUint: parsing "{number}": invalid syntax'
        raise ExitError(f"Error: invalid port ({number}): {why}")
    found: list[dict[str, str]] | None = ports.get(f"{number}/{protocol or 'tcp'}")
    if found is None:
        raise ExitError(f"Error: No public port '{wanted}' published for {name}")
    return found


def _address(binding: dict[str, str]) -> str:
    address = binding["HostIp"]
    return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Numbers in order of their value: 80 before 443."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for character in [*text, ""]:
        if character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, character))
    return parts


PORT = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", show_ports, least=1, most=2)
