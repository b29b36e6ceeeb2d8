"""Results that wait until they are fetched."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from corten.builder.export.handover import Outputs


@pytest.mark.parametrize("turns", range(6))
def test_a_build_that_is_cancelled_just_as_its_output_is_fetched_ends(turns: int) -> None:
    """At whichever turn of the loop: the one that fetches learns that this is not the end."""

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    async def go() -> None:
        outputs = Outputs()
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def tell(token: str) -> None:
            told.set_result(token)

        handing = asyncio.create_task(outputs.hand_over(chunks(), tell))
        pieces = await outputs.take(await told)
        for _ in range(turns):
            await asyncio.sleep(0)
        handing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(handing, 10)
        await pieces.aclose()  # type: ignore[attr-defined]

    asyncio.run(go())
