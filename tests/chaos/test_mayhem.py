"""The short form of script/chaos: our processes are killed at random, and nothing is wrong afterwards."""

from __future__ import annotations

from collections.abc import Callable

from engine import Engine
from mayhem import VICTIMS, mayhem


def test_nothing_is_lost_whoever_dies(engine_with_busybox: Callable[..., Engine]) -> None:
    """Left to script/chaos, because it has a window that is not closed yet: the log writer (what it has read
    and not yet written)."""
    victims = [name for name in VICTIMS if name != "corten-logs"]
    result = mayhem(engine_with_busybox(), count=60, in_flight=8, seed=7, pause_s=0.5, victims=victims)
    assert (result["wrong"], result["left"]) == ([], {})
