"""What commands of the engine's own write."""

import asyncio
import os

from corten.engine.containers import execs


def test_who_writes_without_end_does_not_keep_the_event_loop():
    asyncio.run(_written_without_end())


async def _written_without_end():
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    asyncio.get_running_loop().add_reader(read_end, lambda: None)
    pieces = []

    def collect(data):
        pieces.append(data)
        assert len(pieces) < 100
        os.write(write_end, b"y\n")  # there is always more

    os.write(write_end, b"y\n")
    execs._drain(read_end, collect)
    execs._drain(read_end, collect, 3)
    assert pieces == [b"y\n"] * 4
    os.close(write_end)
    execs._drain(read_end, pieces.append, 3)
    assert not asyncio.get_running_loop().remove_reader(read_end)  # removed at the pipe's end
    os.close(read_end)
