"""What a health check asks for: HEALTHCHECK and `--health-*`, with Docker's defaults, and two things of ours.

A test whose whole text is `http://[ADDRESS]:PORT/PATH` or `tcp://[ADDRESS]:PORT` is made by the engine from
inside the container's network, for images that have neither shell nor client. What happens to a container
that turns unhealthy is said by a label, so that every client can say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from corten.errors import InvalidParameter
from corten.types.container import ContainerConfig, Healthcheck

ON_FAILURE_LABEL = "corten.health.on-failure"
DEFAULT_SHELL = ("/bin/sh", "-c")
_MILLISECOND_NS = 1_000_000
_DEFAULT_S, _DEFAULT_START_INTERVAL_S = 30.0, 5.0
_DEFAULT_RETRIES = 3


class OnFailure(StrEnum):
    """What is done to a container that has become unhealthy."""

    NONE = "none"
    KILL = "kill"  # as if it had died by itself: the restart policy decides
    STOP = "stop"  # as `docker stop`: it stays stopped
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Target:
    """A probe of the engine's: connect to address:port; with `path` also ask by HTTP for it."""

    address: str
    port: int
    path: str = ""
    host: str = ""  # for the Host header


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthTest:
    """A container's check, complete. Either `command` or `target` is given."""

    command: tuple[str, ...] = ()
    target: Target | None = None
    interval_s: float
    timeout_s: float
    start_period_s: float
    start_interval_s: float
    retries: int
    on_failure: OnFailure

    def pause_s(self, since_start_s: float, *, starting: bool) -> float:
        """How long to wait before the next probe."""
        in_start_period = starting and since_start_s < self.start_period_s
        return self.start_interval_s if in_start_period else self.interval_s


def health_test(config: ContainerConfig) -> HealthTest | None:
    """The container's check, None if it has none. Raises InvalidParameter for a target of ours."""
    check = config.healthcheck
    kind, *words = (check.test if check else None) or [""]
    if check is None or not words or kind not in ("CMD", "CMD-SHELL"):
        return None
    target = _target(words[0]) if len(words) == 1 else None
    shell = (config.shell or DEFAULT_SHELL) if kind == "CMD-SHELL" else ()
    return HealthTest(
        command=() if target else (*shell, *words),
        target=target,
        interval_s=check.interval / 1e9 or _DEFAULT_S,
        timeout_s=check.timeout / 1e9 or _DEFAULT_S,
        start_period_s=check.start_period / 1e9,
        start_interval_s=check.start_interval / 1e9 or _DEFAULT_START_INTERVAL_S,
        retries=check.retries or _DEFAULT_RETRIES,
        on_failure=_on_failure(config),
    )


def validate_health(config: ContainerConfig) -> None:
    """Raise InvalidParameter for what cannot be, with Docker's texts."""
    check = config.healthcheck or Healthcheck()
    times = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    for name, value in times:
        if value != 0 and value < _MILLISECOND_NS:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    _on_failure(config)
    health_test(config)


def _on_failure(config: ContainerConfig) -> OnFailure:
    text = (config.labels or {}).get(ON_FAILURE_LABEL, "none")
    try:
        return OnFailure(text)
    except ValueError:
        raise InvalidParameter(
            f"invalid label {ON_FAILURE_LABEL}={text}: use one of 'none', 'kill', 'stop', or 'restart'"
        ) from None


def _target(text: str) -> Target | None:
    scheme = text.partition("://")[0]
    if scheme not in ("http", "tcp") or any(character.isspace() for character in text):
        return None
    try:
        url = urlsplit(text)
        port = url.port or (80 if scheme == "http" else 0)
        name = url.hostname or "127.0.0.1"
        address = "127.0.0.1" if name == "localhost" else str(ip_address(name))
    except ValueError as e:
        raise InvalidParameter(f"invalid health check {text}: {e}") from None
    if not port or url.username or (scheme == "tcp" and url.path.strip("/")):
        raise InvalidParameter(f"invalid health check {text}: expected tcp://[ADDRESS]:PORT")
    if scheme == "tcp":
        return Target(address, port)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if not path.isascii() or not path.isprintable():
        raise InvalidParameter(f"invalid health check {text}: the path must be ASCII")
    return Target(address, port, path, url.netloc or "localhost")
