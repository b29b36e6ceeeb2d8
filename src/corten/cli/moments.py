"""`--since` and `--until`: a moment, or how long ago, to the API's seconds since the epoch."""

from __future__ import annotations

import time

from corten.cli import clock, values
from corten.cli.errors import ExitError


def timestamp(text: str) -> str:
    """A span (`10m`, `1h30m`), Unix seconds, or RFC 3339 and its beginnings, as `SECONDS.NANOSECONDS`.

    Without a zone local time is meant.
    """
    try:
        ago_ns = values.duration(text)
    except ValueError:
        pass
    else:
        now_ns = time.time_ns() - ago_ns
        return f"{now_ns // 10**9}.{now_ns % 10**9:09d}"
    if text.replace(".", "", 1).isdigit():
        return text
    date, _, of_day = text.partition("T")
    zone_at = next((i for i, c in enumerate(of_day) if c in "Z+-"), len(of_day))
    zone, of_day = of_day[zone_at:], of_day[:zone_at]
    of_day += {0: "00:00:00", 2: ":00:00", 5: ":00"}.get(len(of_day), "")
    moment = clock.parse(f"{date}T{of_day}{zone or 'Z'}")
    if moment is None:
        raise ExitError(
            f'invalid value for "since"/"until": failed to parse value as time or duration: "{text}"'
        )
    seconds, nanoseconds = moment
    if not zone:
        seconds = _local(seconds)
    return f"{seconds}.{nanoseconds:09d}"


def _local(seconds: int) -> int:
    """Seconds that were read as if UTC were our zone, corrected by the zone's offset at that time."""
    return int(time.mktime((*time.gmtime(seconds)[:8], -1)))
