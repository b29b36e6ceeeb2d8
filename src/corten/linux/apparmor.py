"""AppArmor: whether the kernel has it, which profiles it knows, loading one. See apparmor_parser(8)."""

from __future__ import annotations

import os
import subprocess

_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PROFILES = "/sys/kernel/security/apparmor/profiles"
_PARSERS = ("/usr/sbin/apparmor_parser", "/sbin/apparmor_parser")
_TIMEOUT_S = 60


def enabled() -> bool:
    """Whether programs can be confined: the kernel does it, and there is what makes profiles of texts."""
    try:
        with open(_ENABLED) as file:
            return file.read().startswith("Y") and os.path.exists(_PROFILES) and bool(_parser())
    except OSError:
        return False


def loaded(name: str) -> bool:
    """Whether the kernel has a profile of that name. Raises OSError."""
    with open(_PROFILES) as file:
        return any(line.rpartition(" (")[0] == name for line in file)


def load(text: str) -> None:
    """Load a profile, or replace it. Blocks. Raises OSError with the parser's words."""
    done = subprocess.run(
        [_parser(), "--skip-cache", "--replace"],
        input=text,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise OSError(22, f"apparmor_parser: {done.stderr.strip() or done.returncode}", "profile")


def _parser() -> str:
    return next((path for path in _PARSERS if os.access(path, os.X_OK)), "")
