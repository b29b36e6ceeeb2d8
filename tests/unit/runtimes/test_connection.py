"""The engine's end of a connection to the supervisor."""

import asyncio
import json
import socket

from corten.runtimes.connection import Connection


def test_answers_and_events_take_effect_in_the_order_in_which_they_were_sent() -> None:
    """A list of tasks that run must not be acted on after the exit that followed it was."""

    async def go() -> list[object]:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        seen: list[object] = []
        connection = Connection(
            mine, on_event=lambda event: seen.append(event["event"]), on_lost=lambda: None
        )

        async def ask() -> None:
            answer, _ = await connection.request("tasks", {})
            seen.append(answer["tasks"])

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        number = json.loads(theirs.recv(1000))["n"]
        for message in ({"event": "first"}, {"n": number, "tasks": []}, {"event": "last"}):
            theirs.send(json.dumps(message).encode())
        await asking
        while len(seen) < 3:
            await asyncio.sleep(0)
        connection.close()
        theirs.close()
        return seen

    assert asyncio.run(go()) == ["first", [], "last"]
