"""Doing one thing to each of several names: all are tried, the failures come at the end."""

from __future__ import annotations

from corten.cli.context import err, out
from corten.cli.errors import ExitError
from corten.client.errors import APIError, ClientError, NoEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(
    names: list[str], act: Callable[[str], object], *, show: bool = True, forgive_missing: bool = False
) -> int:
    """Act on every name and print it; what fails is shown and makes the exit code 1."""
    failures = []
    forgiven = False
    for name in names:
        try:
            act(name)
        except NoEngine:
            raise
        except (ClientError, ExitError) as e:
            failures.append(str(e))
            forgiven = forgive_missing and isinstance(e, APIError) and e.status == 404
            if not forgiven:
                continue
        if show and not forgiven:
            out(f"{name}\n")
    if not failures:
        return 0
    err("\n".join(failures) + "\n")
    return 0 if forgiven and len(failures) == 1 else 1
