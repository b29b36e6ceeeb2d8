"""ssh:// hosts: the command line over there connects its stdin and stdout to the engine there.

Source: docker/cli, cli/connhelper/ssh: the same arguments of ssh; corten is preferred where both are.
"""

from __future__ import annotations

import os
from _socket import socket as Socket
from _socket import socketpair

from corten.client.errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.address import Address


def connect(address: Address) -> Socket:
    """Start ssh; the socket that is its stdin and stdout. Raises ConnectionFailed if there is no ssh."""
    ours, theirs = socketpair()
    os.set_inheritable(ours.fileno(), False)
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1)]
    try:
        os.posix_spawnp("ssh", command(address), os.environ, file_actions=actions)
    except OSError as e:
        ours.close()
        raise ConnectionFailed(f"error during connect: {address.text}: ssh: {e.strerror}") from e
    finally:
        theirs.close()
    return ours


def command(address: Address) -> list[str]:
    """The command line."""
    assert address.ssh is not None
    words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    if address.ssh.user:
        words += ["-l", address.ssh.user]
    if address.port:
        words += ["-p", str(address.port)]
    host = f" --host {_quoted('unix://' + address.ssh.socket)}" if address.ssh.socket else ""
    remote = (
        f"if command -v corten >/dev/null; then exec corten{host} system dial-stdio; "
        f"else exec docker{host} system dial-stdio; fi"
    )
    return [*words, "--", address.host, f"sh -c {_quoted(remote)}"]


def _quoted(text: str) -> str:
    """One word of a shell's."""
    return "'" + text.replace("'", "'\\''") + "'"
