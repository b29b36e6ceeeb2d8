"""The build cache, whose rows are written a moment after they are there."""

import asyncio
from pathlib import Path

import pytest

from corten.builder.cache import BuildCache
from corten.builder.image import Layer
from corten.digest import digest_of
from corten.metadata import Ledger

LAYER = Layer(digest_of(b"layer"), 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(str(tmp_path / "meta.db"))
    ledger.execute(
        "INSERT INTO layers (diff_id, directory, size, created_ns) VALUES (?, 'd', 7, 1)", (LAYER.diff_id,)
    )
    return ledger


def rows(ledger: Ledger) -> list[tuple[str, int]]:
    """Keys and how often they were used, as another connection sees them."""
    found = Ledger(ledger.path).query("SELECT key, uses FROM build_cache ORDER BY key")
    return [(row["key"], row["uses"]) for row in found]


def test_what_is_added_soon_is_found_at_once_and_written_in_a_moment(ledger: Ledger) -> None:
    async def run() -> None:
        cache = BuildCache(ledger)
        cache.add_soon(["one", "two"], LAYER, "RUN true")
        assert (cache.find(["two"]), rows(ledger)) == (LAYER, [])
        while not rows(ledger):
            await asyncio.sleep(0.001)
        cache.note_uses()
        assert rows(ledger) == [("one", 1), ("two", 2)]
        assert [row["key"] for row in ledger.query("SELECT key FROM leases")] == [LAYER.diff_id] * 2

    asyncio.run(run())


def test_who_asks_for_all_sees_what_is_coming(ledger: Ledger) -> None:
    async def run() -> None:
        cache = BuildCache(ledger)
        cache.add_soon(["one"], LAYER, "RUN true")
        assert cache.size() == 7
        cache.add_soon(["two"], LAYER, "RUN true")
        assert sorted(cache.keys_of(LAYER)) == ["one", "two"]
        cache.add_soon(["three"], LAYER, "RUN true")
        assert [(entry.key, entry.others) for entry in cache.entries()] == [("one", ("three", "two"))]

    asyncio.run(run())


def test_what_is_removed_before_it_is_written_stays_away(ledger: Ledger) -> None:
    async def run() -> None:
        cache = BuildCache(ledger)
        cache.add_soon(["one"], LAYER, "RUN true")
        cache.remove("one")
        assert cache.find(["one"]) is None
        cache.write()
        assert rows(ledger) == []

    asyncio.run(run())


def test_a_layer_that_has_gone_takes_its_key_with_it(ledger: Ledger) -> None:
    async def run() -> None:
        cache = BuildCache(ledger)
        cache.add(["one"], LAYER, "RUN true")
        ledger.execute("DELETE FROM layers")
        assert cache.find(["one"]) is None
        assert rows(ledger) == []

    asyncio.run(run())
