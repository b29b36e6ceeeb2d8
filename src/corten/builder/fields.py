"""Fields with commas between them, quoted where they hold commas, as flags and attributes have them."""

from __future__ import annotations

import csv

from corten.errors import InvalidParameter


def comma_fields(text: str) -> list[str]:
    """The fields of one line of CSV. Raises InvalidParameter: a stray quote, a further line, a huge field.

    >>> comma_fields('type=bind,"source=a,b"')
    ['type=bind', 'source=a,b']
    """
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidParameter(str(error)) from None
