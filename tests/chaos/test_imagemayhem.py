"""The short form of script/chaos-images: the engine is killed while images come and go."""

from collections.abc import Callable
from pathlib import Path

from engine import Engine
from imagemayhem import image_mayhem


def test_the_store_is_whole_afterwards(new_engine: Callable[..., Engine], busybox_tar: Path) -> None:
    result = image_mayhem(new_engine(), busybox_tar, count=50, in_flight=4, seed=5, pause_s=0.8)
    assert (result["wrong"], result["found"], result["left"]) == ([], [], {})
