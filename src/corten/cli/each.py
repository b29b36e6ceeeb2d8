"""Doing one thing to each of several names: all are tried, the failures come at the end."""

from __future__ import annotations

from corten.cli.context import err, out
from corten.cli.errors import ExitError
from corten.client.errors import APIError, ClientError, NoEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_FOUND = 404


def for_each(
    names: list[str],
    act: Callable[[str], object],
    *,
    show: bool = True,
    forgive_missing: bool = False,
    summary: str = "",
) -> int:
    """Act on every name and print it; what fails is shown and makes the exit code 1.

    `forgive_missing`: a name that is not there is shown as an error, but is none. `summary`: the beginning of
    a last line that names all those that failed.
    """
    failures: dict[str, str] = {}
    for name in names:
        try:
            act(name)
        except NoEngine:
            raise
        except (ClientError, ExitError) as e:
            if forgive_missing and isinstance(e, APIError) and e.status == _NOT_FOUND:
                err(f"{e}\n")
            else:
                failures[name] = str(e)
            continue
        if show:
            out(f"{name}\n")
    if failures:
        lines = [*failures.values(), *([f"{summary}: {', '.join(failures)}"] if summary else ())]
        err("\n".join(lines) + "\n")
    return 1 if failures else 0
