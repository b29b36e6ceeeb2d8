"""Doing something inside another network namespace: by a thread that lives only for that.

A socket stays in the namespace where it was made, whoever uses it later.
"""

from __future__ import annotations

import threading

from corten.linux.namespaces import CLONE_NEWNET, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def within(netns_fd: int, action: Callable[[], T]) -> T:
    """The result of `action`, called in the network namespace. About 100 us. Raises what it raises."""

    def run() -> T:
        setns(netns_fd, CLONE_NEWNET)
        return action()

    return in_thread(run)


def in_thread(action: Callable[[], T]) -> T:
    """The result of `action`, called by a thread whose namespaces may be changed. Raises what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
