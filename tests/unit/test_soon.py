"""What is done a moment later."""

import asyncio

from corten.soon import Soon


def test_it_is_done_once_for_all_who_have_asked() -> None:
    async def run() -> None:
        done = asyncio.Event()
        calls: list[int] = []

        def act() -> None:
            calls.append(len(calls))
            done.set()

        soon = Soon(act)
        soon.ask()
        soon.ask()
        assert not calls
        await done.wait()
        soon.now()
        assert calls == [0, 1]

    asyncio.run(run())


def test_what_is_done_now_is_not_done_again() -> None:
    async def run() -> None:
        calls: list[int] = []
        soon = Soon(lambda: calls.append(1))
        soon.ask()
        soon.now()
        marker = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, marker.set)  # later than it would have been
        await marker.wait()
        assert calls == [1]

    asyncio.run(run())
