"""Input of processes in the containers of a build's client."""

import asyncio
import os

from corten.engine.buildcontainers import _Process


def test_a_full_pipe_is_watched_only_while_it_is_full():
    async def main():
        read_end, write_end = os.pipe()
        process = _Process(None, "task", None, write_end)
        data = bytes(range(256)) * 4096
        writing = asyncio.ensure_future(process.write(data))
        taken = b""
        while len(taken) < len(data):
            taken += await asyncio.to_thread(os.read, read_end, 1 << 16)
        await writing
        watched = asyncio.get_running_loop().remove_writer(write_end)
        await process.end_input()
        os.close(read_end)
        return taken == data, watched

    assert asyncio.run(main()) == (True, False)
