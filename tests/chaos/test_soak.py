"""The short form of script/soak: many containers leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import soak
from engine import Engine


def test_many_containers_leave_nothing(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    result = soak.churn(engine, 300, 20)
    assert result["left"] == {}


def test_a_crowd_is_found_again(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    result = soak.crowd(engine, 60, 10)
    assert (result["running after kill -9"], result["left"]) == (60, {})
