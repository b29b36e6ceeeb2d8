"""User names and passwords in URLs: nothing that is shown, logged or kept has them."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?i)\b(https?://|(?:ssh|git)://(?=[^/\s@]*:))([^/\s?#]*)@")


def redacted(text: str) -> str:
    """The text with the credentials of the URLs in it masked, as BuildKit does it.

    >>> redacted("https://me:secret@host/repo.git"), redacted("https://token@host/x"), redacted("ssh://git@host/x")
    ('https://xxxxx:xxxxx@host/repo.git', 'https://xxxxx@host/x', 'ssh://git@host/x')
    """
    return _USERINFO.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    return f"{found[1]}{'xxxxx:xxxxx' if ':' in found[2] else 'xxxxx'}@"
