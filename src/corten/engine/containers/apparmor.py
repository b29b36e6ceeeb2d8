"""The AppArmor profile of containers: made here, of the same tables as masked and read-only paths.

It forbids a second time what mounts and capabilities forbid already, for the case that one of those is
given away (`--cap-add SYS_ADMIN`, `systempaths=unconfined`): mounting, writing to the kernel's settings below
/proc and /sys, reading what is masked, signals and ptrace beyond the containers.
"""

from __future__ import annotations

from collections.abc import Iterator

from corten.engine.containers.security import MASKED_PATHS, READONLY_PATHS, SecurityOptions
from corten.errors import InvalidParameter, NotSupported
from corten.linux import apparmor
from corten.types.container import HostConfig

DEFAULT_PROFILE = "corten-default"
UNCONFINED = "unconfined"

_RULES = """\
profile {name} flags=(attach_disconnected,mediate_deleted) {{
  file,
  network,
  unix,
  capability,
  umount,
  deny mount,

  signal receive peer=unconfined,
  signal (send, receive) peer={name},
  ptrace (trace, tracedby, read, readby) peer={name},

{denials}
}}
"""


def profile_text(name: str = DEFAULT_PROFILE) -> str:
    """The profile in the language of apparmor.d(5)."""
    denials = [
        "/proc/* w",
        "/proc/[^1-9]*/** w",  # what belongs to no process
        *(f"{path}{{,/**}} wklx" for path in READONLY_PATHS),
        *(f"{pattern} wklx" for pattern in _all_but("/sys/", "fs/cgroup")),
        *(f"{path}{{,/**}} rwklx" for path in (*MASKED_PATHS, "/sys/kernel/security")),
    ]
    return _RULES.format(name=name, denials="\n".join(f"  deny {rule}," for rule in denials))


def _all_but(directory: str, kept: str) -> Iterator[str]:
    """Patterns for everything in the directories below `directory` except in the one at `kept`.

    A denial cannot be taken back by a later rule, so the exception is spelt out, letter by letter.
    """
    for position, letter in enumerate(kept):
        if letter != "/":
            yield f"{directory}{kept[:position]}[^{letter}]*/**"


def install() -> str:
    """Load the profile; its name, or "" where containers cannot be confined. Blocks. Raises OSError."""
    if not apparmor.enabled():
        return ""
    apparmor.load(profile_text())
    return DEFAULT_PROFILE


def profile_of(options: SecurityOptions, host_config: HostConfig, default: str) -> str:
    """The profile of a container's processes; "" without AppArmor. default: what `install` gave."""
    if not default:
        return ""
    return options.apparmor or (UNCONFINED if host_config.privileged else default)


def check_profile(options: SecurityOptions, default: str) -> None:
    """Raise NotSupported, InvalidParameter for a profile that cannot be had."""
    asked = options.apparmor
    if not default and asked not in ("", UNCONFINED):
        raise NotSupported(f"AppArmor is not enabled on this system: apparmor={asked}")
    if asked not in ("", UNCONFINED, default) and not apparmor.loaded(asked):
        raise InvalidParameter(f"AppArmor profile {asked} is not loaded")
