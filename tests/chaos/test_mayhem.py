"""The short form of script/chaos: our processes are killed at random, and nothing is wrong afterwards."""

from __future__ import annotations

from collections.abc import Callable

from engine import Engine
from lives import PLAIN
from mayhem import mayhem


def test_nothing_is_lost_whoever_dies(engine_with_busybox: Callable[..., Engine]) -> None:
    """Left to script/chaos: netd and the relay, with networks of users."""
    victims = ("cortend", "corten-super", "corten-logs", "corten-janitor")
    result = mayhem(
        engine_with_busybox(), count=60, in_flight=8, seed=7, pause_s=0.5, victims=victims, kinds=PLAIN
    )
    assert (result["wrong"], result["left"]) == ([], {})
