"""Requests of the supervisor that take several steps, and what comes in between."""

from types import SimpleNamespace
from typing import Any

from corten.supervisor.requests import Requests


class Cgroups:
    """Freezing takes two steps."""

    def freezing(self, path: str) -> Any:
        yield 0.1
        yield 0.1

    def thaw(self, path: str) -> None:
        pass


class Service:
    """Requests about one task, whose steps are taken by hand; `answers` by the request's number."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.steps: list[Any] = []
        task = SimpleNamespace(id="t", cgroup="/t", runtime=None, exit=None)
        self._requests = Requests(
            SimpleNamespace(loop=self, cgroups=Cgroups(), task_of=lambda request: task)  # type: ignore[arg-type]
        )

    def proceed(self, steps: Any, done: Any) -> None:
        """As the loop's, but everything in its own time."""
        self.steps.append((steps, done))
        self.step(len(self.steps) - 1)

    def step(self, number: int) -> None:
        steps, done = self.steps[number]
        try:
            next(steps)
        except StopIteration:
            done(None)
        except OSError as e:
            done(e)

    def ask(self, operation: str, number: int) -> None:
        self._requests.handlers[operation](self, {"n": number, "id": "t"}, [])  # type: ignore[arg-type]

    def answer(self, request: dict[str, Any], result: dict[str, Any]) -> None:
        self.answers[request["n"]] = result


def test_what_is_resumed_meanwhile_is_not_paused() -> None:
    service = Service()
    service.ask("pause", 1)
    service.ask("resume", 2)
    service.step(0)
    assert "run on" in service.answers[1]["error"]["message"]
    assert service.answers[2] == {}


def test_of_two_who_pause_the_later_has_its_way() -> None:
    """An engine that died over it may have been the first."""
    service = Service()
    service.ask("pause", 1)
    service.ask("pause", 2)
    service.step(0)
    assert "error" in service.answers[1]
    service.step(1)
    service.step(1)
    assert service.answers[2] == {}
