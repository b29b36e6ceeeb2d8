import asyncio
import json
import os
import time

from corten.logs.reader import open_logs
from corten.logs.records import LogQuery


def say(path, *texts, stream="stdout"):
    with open(path, "a") as file:
        for text in texts:
            file.write(json.dumps({"log": text, "stream": stream, "time": "2026-01-01T00:00:00Z"}) + "\n")


async def collect(path, query, ended=None):
    reader = await open_logs(str(path), query, ended or asyncio.Event())
    try:
        return [item async for chunk in reader for item in chunk]
    finally:
        await reader.aclose()


def test_backlog(tmp_path):
    say(tmp_path / "log", "a\n", "b\n")
    assert asyncio.run(collect(tmp_path / "log", LogQuery(tail=1))) == [(1, b"b\n")]


def test_follow_survives_rotation_and_ends_with_the_container(tmp_path):
    path = tmp_path / "log"

    async def main():
        ended = asyncio.Event()
        say(path, "one\n")
        seen = []

        async def reader():
            log = await open_logs(str(path), LogQuery(follow=True), ended)
            async for chunk in log:
                seen.extend(data for _, data in chunk)
                arrived.set()
            await log.aclose()

        arrived = asyncio.Event()
        task = asyncio.create_task(reader())
        for number in range(3):
            await arrived.wait()
            arrived.clear()
            os.rename(path, f"{path}.1")
            say(path, f"{number}\n")
        await arrived.wait()
        say(path, "last\n")
        ended.set()
        await task
        return seen

    assert asyncio.run(main()) == [b"one\n", b"0\n", b"1\n", b"2\n", b"last\n"]


def test_follow_stops_when_until_has_passed(tmp_path):
    say(tmp_path / "log", "x\n")
    query = LogQuery(follow=True, until_ns=time.time_ns() + 50_000_000)
    assert asyncio.run(collect(tmp_path / "log", query)) == [(1, b"x\n")]


def test_follow_of_a_removed_container_ends(tmp_path):
    assert asyncio.run(collect(tmp_path / "gone" / "log", LogQuery(follow=True))) == []


def test_what_was_written_before_the_container_was_removed_is_read(tmp_path, monkeypatch):
    path = tmp_path / "log"
    say(path, "one\n")

    def removed(*_):
        say(path, "last\n")
        raise FileNotFoundError

    monkeypatch.setattr("corten.logs.reader._Watch", removed)
    assert asyncio.run(collect(path, LogQuery(follow=True))) == [(1, b"one\n"), (1, b"last\n")]


def test_what_is_open_is_read_although_it_was_removed(tmp_path):
    """`docker run --rm` and docker-py ask for the log, wait, remove, and only then read what they got."""
    path = tmp_path / "c" / "log"
    path.parent.mkdir()
    say(path, "kept\n")

    async def main():
        ended = asyncio.Event()
        log = await open_logs(str(path), LogQuery(follow=True), ended)
        ended.set()
        path.unlink()
        path.parent.rmdir()
        try:
            return [item async for chunk in log for item in chunk]
        finally:
            await log.aclose()

    assert asyncio.run(main()) == [(1, b"kept\n")]


def test_an_unread_log_can_be_closed(tmp_path):
    say(tmp_path / "log", "x\n")

    async def main():
        before = len(os.listdir("/proc/self/fd"))
        log = await open_logs(str(tmp_path / "log"), LogQuery(follow=True), asyncio.Event())
        await log.aclose()
        return before, len(os.listdir("/proc/self/fd"))

    before, after = asyncio.run(main())
    assert after == before
