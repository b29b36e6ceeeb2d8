"""An event loop of the smallest kind: epoll, callbacks by fd, timers, and work for idle moments."""

from __future__ import annotations

import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ = select.EPOLLIN | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
EDGE = select.EPOLLET
_GONE = select.EPOLLHUP | select.EPOLLERR


class Timer:
    """A callback at a time, until it is cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        """Not any more; harmless when it has been called."""
        self.callback = None


class Loop:
    """Runs callbacks; one that raises is reported to `on_error` and does not end the loop."""

    __slots__ = ("_callbacks", "_epoll", "_fresh", "_idle", "_sequence", "_timers", "on_error", "running")

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._fresh: set[int] = set()  # watched since the last poll, which can have nothing about them
        self._timers: list[tuple[float, int, Timer]] = []
        self._idle: list[Callable[[], None]] = []
        self._sequence = 0
        self.on_error = on_error
        self.running = True

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call `callback` whenever `fd` has `events` (level-triggered) or was hung up.

        Raises OSError: no memory, or the user's limit of watches (epoll(7)).
        """
        self._fresh.add(fd)
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched fd; 0 waits for hang-up only."""
        self._epoll.modify(fd, events)

    def replace(self, fd: int, callback: Callable[[], None], events: int) -> None:
        """Wait for other events on a watched fd, and call another one for them."""
        self._callbacks[fd] = callback
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; must precede closing the fd."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def watches(self, fd: int) -> bool:
        """Whether the fd is being watched."""
        return fd in self._callbacks

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once after `seconds`, unless it is cancelled."""
        self._sequence += 1
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._sequence, timer))
        return timer

    def proceed(self, steps: Iterator[float], done: Callable[[OSError | None], None]) -> None:
        """Take the steps of some work, each when the seconds are over that the one before asks for; then call
        `done`, with what it has raised."""
        try:
            seconds = next(steps)
        except StopIteration:
            done(None)
        except OSError as e:
            done(e)
        else:
            self.after(seconds, lambda: self.proceed(steps, done))

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call once as soon as no event waits; several run one per idle moment, first come first."""
        self._idle.append(callback)

    def run(self) -> None:
        """Until `running` is False."""
        while self.running:
            while self._timers and self._timers[0][2].callback is None:
                heapq.heappop(self._timers)
            if self._idle:
                timeout = 0.0
            elif self._timers:
                timeout = max(0.0, self._timers[0][0] - time.monotonic())
            else:
                timeout = -1
            self._fresh.clear()
            events = self._epoll.poll(timeout)
            for fd, _ in events:
                callback = self._callbacks.get(fd)
                # An earlier callback of this round may have forgotten it, and its number be another's now.
                if callback is not None and fd not in self._fresh:
                    self._call(callback)
            while self._timers and self._timers[0][0] <= time.monotonic():
                callback = heapq.heappop(self._timers)[2].callback
                if callback is not None:
                    self._call(callback)
            if not events and self._idle:
                self._call(self._idle.pop(0))

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as e:
            self.on_error(e)
