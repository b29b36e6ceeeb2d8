"""`--egress` of `run`, `create` and `network create`. Not Docker's."""

from __future__ import annotations

from corten.cli.errors import HintedError


def egress(items: list[str]) -> str:
    """Several flags as one policy: "deny", or "allow=" and all that one of them allows."""
    allowed = []
    for item in items:
        word, equals, rest = item.partition("=")
        if (word, equals) != ("deny", "") and (word != "allow" or not rest):
            raise HintedError(
                f"invalid argument {item!r} for --egress: use deny, or allow=DESTINATION[,DESTINATION...]"
            )
        if rest:
            allowed.append(rest)
    return f"allow={','.join(allowed)}" if allowed else "deny"
