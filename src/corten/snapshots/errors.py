"""What can be wrong with an archive that somebody else made."""

from __future__ import annotations

from corten.errors import InvalidParameter


class BadArchive(InvalidParameter):
    """The bytes are no sound archive: broken, truncated, or out to do harm."""


class TooLarge(BadArchive):
    """The archive unpacks to more than the configured limits allow."""
