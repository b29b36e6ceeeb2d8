"""`corten system df -v`: every image, container, volume and cache record with its size."""

from __future__ import annotations

import time

from corten import spans
from corten.cli import clock, sizes, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def details(usage: dict[str, Any]) -> str:
    """All four sections."""
    cache = usage.get("BuildCache") or []
    cache_size = int(usage.get("BuilderSize") or sum(r.get("Size", 0) for r in cache))
    sections = (
        ("Images space usage:", _images(usage.get("Images") or [])),
        ("Containers space usage:", _containers(usage.get("Containers") or [])),
        ("Local Volumes space usage:", _volumes(usage.get("Volumes") or [])),
        (f"Build cache usage: {sizes.decimal(cache_size)}", _cache(cache)),
    )
    return "\n".join(f"{title}\n\n{table.align(lines)}" for title, lines in sections)


def _images(images: list[dict[str, Any]]) -> list[list[str]]:
    from corten.cli.image.list import names

    lines = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for image in images:
        repository, tag, _ = next(iter(names(image, digests=False)))
        shared = max(image.get("SharedSize", 0), 0)
        lines.append(
            [
                *(repository, tag, table.short_id(image["Id"]), _ago(image.get("Created", 0))),
                *(sizes.decimal(image.get("Size", 0), 3), sizes.decimal(shared)),
                *(sizes.decimal(image.get("Size", 0) - shared), str(image.get("Containers", 0))),
            ]
        )
    return lines


def _containers(containers: list[dict[str, Any]]) -> list[list[str]]:
    from corten.cli.container.list import row

    headers = ["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]
    lines = [headers]
    for container in containers:
        shown = row(container, full=False)
        size = sizes.decimal(container.get("SizeRw", 0), 3)
        lines.append(
            [
                *(shown["ID"], shown["Image"], shown["Command"], shown["LocalVolumes"]),
                *(size, shown["RunningFor"], shown["Status"], shown["Names"]),
            ]
        )
    return lines


def _volumes(volumes: list[dict[str, Any]]) -> list[list[str]]:
    lines = [["VOLUME NAME", "LINKS", "SIZE"]]
    for volume in volumes:
        data = volume.get("UsageData") or {}
        size = data.get("Size", -1)
        lines.append(
            [volume["Name"], str(data.get("RefCount", 0)), sizes.decimal(size) if size >= 0 else "N/A"]
        )
    return lines


def _cache(records: list[dict[str, Any]]) -> list[list[str]]:
    lines = [["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]]
    for record in records:
        ident = record["ID"][:12] + ("*" if record.get("InUse") else "")
        used, shared = str(record.get("UsageCount", 0)), str(bool(record.get("Shared"))).lower()
        dates = (_since(record.get("CreatedAt")), _since(record.get("LastUsedAt")))
        lines.append(
            [ident, record.get("Type", ""), sizes.decimal(record.get("Size", 0)), *dates, used, shared]
        )
    return lines


def _ago(seconds: int) -> str:
    return spans.human(time.time() - seconds) + " ago" if seconds > 0 else "N/A"


def _since(text: str | None) -> str:
    moment = clock.parse(text or "")
    return _ago(moment[0]) if moment else ""
