import os

from corten.supervisor.loop import Loop


def raise_(error):
    raise error


def test_an_event_of_a_closed_descriptor_is_not_that_of_the_next_one_with_its_number():
    """A supervisor took the hang-up of a dead janitor's socket for the end of the janitor just started."""
    loop, seen = Loop(raise_), []
    pipes = [os.pipe(), os.pipe()]

    def first(mine, other):
        """Both are readable in one round: put a silent pipe in the other one's place."""
        for fd in (mine, other):
            loop.forget(fd)
        silent = os.pipe()
        pipes.append(silent)
        os.dup2(silent[0], other)
        loop.watch(other, lambda: seen.append("stale"))
        loop.after(0, stop)

    def stop():
        loop.running = False

    (one, _), (two, _) = pipes
    loop.watch(one, lambda: first(one, two))
    loop.watch(two, lambda: first(two, one))
    for _, writer in pipes:
        os.write(writer, b"x")
    loop.run()
    for fd in (fd for ends in pipes for fd in ends):
        os.close(fd)
    assert not seen


def test_a_cancelled_timer_is_neither_called_nor_waited_for():
    loop, called = Loop(raise_), []

    def stop():
        called.append("stop")
        loop.running = False

    loop.after(0, lambda: called.append("cancelled")).cancel()
    loop.after(0.01, stop)
    late = loop.after(3600, stop)
    loop.run()
    late.cancel()
    loop.after(0, stop).cancel()
    loop.running = True
    loop.when_idle(stop)
    loop.run()
    assert called == ["stop", "stop"]
