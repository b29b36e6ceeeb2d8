"""Tasks that wait for the same thing."""

import asyncio

from corten.http2.waiters import Waiters


def test_something_is_found_as_soon_as_it_is_there():
    async def main():
        waiters, known = Waiters(), {}
        finding = asyncio.ensure_future(waiters.until(lambda: known.get("a"), 60))
        for name in ("b", "a"):
            await asyncio.sleep(0)
            known[name] = f"it is {name}"
            waiters.wake()
        return await finding, await waiters.until(lambda: known.get("b"), 60), waiters._waiting

    assert asyncio.run(main()) == ("it is a", "it is b", [])


def test_what_does_not_come_in_time_is_not_found():
    async def main():
        waiters = Waiters()
        return await waiters.until(lambda: None, 0.01), waiters._waiting

    assert asyncio.run(main()) == (None, [])


def test_who_is_cancelled_waits_no_longer_and_others_go_on():
    async def main():
        waiters = Waiters()
        cancelled, other = [asyncio.ensure_future(waiters.wait(timeout)) for timeout in (60, None)]
        await asyncio.sleep(0)
        cancelled.cancel()
        waiters.wake()
        await other
        await asyncio.wait([cancelled])
        return cancelled.cancelled(), waiters._waiting

    assert asyncio.run(main()) == (True, [])
