"""Output of builds' commands, on its way through the engine's pipes."""

from __future__ import annotations

import asyncio
import os

from corten.engine.stepoutput import OutputPipes


def test_who_has_been_given_a_pipe_is_not_waited_for_once_the_command_has_ended() -> None:
    async def main() -> list[tuple[str, bytes]]:
        ended = asyncio.get_running_loop().create_future()
        got: list[tuple[str, bytes]] = []
        first = asyncio.Event()

        async def on_output(stream: str, data: bytes) -> None:
            got.append((stream, data))
            first.set()

        with OutputPipes() as pipes:
            strangers = [os.dup(fd) for fd in pipes.ends]
            pipes.close_ends()
            handing = asyncio.ensure_future(pipes.hand_over(on_output, ended))
            os.write(strangers[0], b"while it ran")
            await first.wait()
            os.write(strangers[1], b"the last of it")
            ended.set_result(None)
            await handing
        for fd in strangers:
            os.close(fd)
        return got

    assert asyncio.run(main()) == [("stdout", b"while it ran"), ("stderr", b"the last of it")]


def test_a_pipe_that_is_always_full_leaves_others_their_turn() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        ended, turn, count = loop.create_future(), asyncio.Event(), 0
        ended.set_result(None)
        with OutputPipes() as pipes:
            out, _ = pipes.ends

            async def on_output(stream: str, data: bytes) -> None:
                nonlocal count
                count += 1
                loop.call_soon(turn.set)
                if not turn.is_set() and count < 1000:
                    os.write(out, data)

            os.write(out, bytes(1 << 16))
            await pipes.hand_over(on_output, ended)
        return count

    assert asyncio.run(main()) < 1000
