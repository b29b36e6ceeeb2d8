"""Internet addresses as text."""

from __future__ import annotations


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text.partition("%")[0])
    except OSError:
        return False
    return True
