"""`corten stats`: one stream and one thread a container, one picture every half second."""

from __future__ import annotations

import threading

from corten.cli.command import UNLIMITED, Command
from corten.cli.container import usage
from corten.cli.context import Context, err, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS
from corten.cli.progress import messages
from corten.client import jsontext
from corten.client.errors import ClientError
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.client.engine import Engine

_REFRESH_S = 0.5
_HOME, _CLEAR, _REST_OF_LINE, _REST_OF_SCREEN = "\033[H", "\033[2J", "\033[K", "\033[J"


class _Watched:
    """One container's latest sample, kept up to date by a thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sample: dict[str, Any] | None = None
        self.error = ""
        self.gone = False
        self.first = threading.Event()

    def follow(self, engine: Engine, *, stream: bool) -> None:
        """Read samples until they end."""
        path = f"/containers/{quote(self.name)}/stats"
        try:
            link = engine.begin("GET", path, {"stream": 1 if stream else 0})
            for self.sample in messages(engine.finish(link, "GET")):
                self.first.set()
        except (ClientError, OSError) as e:
            self.error = str(e)
        self.gone = stream
        self.first.set()


class _Watch:
    """All that are watched, in the order in which they came."""

    def __init__(self, engine: Engine, *, stream: bool) -> None:
        self._engine = engine
        self._stream = stream
        self.watched: dict[str, _Watched] = {}

    def add(self, name: str) -> None:
        """Begin to watch a container, unless it is watched."""
        if name not in self.watched:
            self.watched[name] = new = _Watched(name)
            self._run(new.follow, self._engine, stream=self._stream)

    def follow_events(self, *, include_stopped: bool) -> None:
        """Watch those that come, forget those that go."""
        filters = jsontext.dumps({"type": {"container": True}})
        link = self._engine.begin("GET", "/events", {"filters": filters})
        for event in messages(self._engine.finish(link, "GET")):
            name, action = event["Actor"]["ID"][:12], event["Action"]
            if action == "start" or (action == "create" and include_stopped):
                self.add(name)
            elif action == "destroy" or (action == "die" and not include_stopped):
                self.watched.pop(name, None)

    def start_events(self, *, include_stopped: bool) -> None:
        """As `follow_events`, in a thread."""
        self._run(self.follow_events, include_stopped=include_stopped)

    @staticmethod
    def _run(function: Any, *arguments: object, **options: object) -> None:
        threading.Thread(target=function, args=arguments, kwargs=options, daemon=True).start()

    def wait(self) -> None:
        """Until there is a first sample, or an error, of each."""
        for each in tuple(self.watched.values()):
            each.first.wait()


def show_stats(context: Context, options: Options, names: list[str]) -> int:
    """Show what containers use, again and again or once."""
    stream, everything = not options.on("no-stream"), options.on("all")
    engine = context.engine
    engine.negotiate()
    watch = _Watch(engine, stream=stream)
    if not names and stream:
        watch.start_events(include_stopped=everything)
    for name in names or _listed(engine, everything):
        watch.add(name)
    watch.wait()
    if errors := [each.error for each in watch.watched.values() if each.error]:
        err("\n".join(errors) + "\n")
        return 1
    if not stream:
        out(_picture(watch, options))
        return 0
    _animate(watch, options, forever=not names)
    return 0


def _listed(engine: Engine, everything: bool) -> list[str]:
    containers = engine.get("/containers/json", all=1 if everything else None)
    return [each["Id"][:12] for each in containers]


def _picture(watch: _Watch, options: Options) -> str:
    full = options.on("no-trunc")
    rows = [usage.row(each.name, each.sample, full) for each in tuple(watch.watched.values())]
    return usage.LISTING.text(rows, options["format"])


def _animate(watch: _Watch, options: Options, *, forever: bool) -> None:
    import time

    out(_CLEAR)
    while forever or watch.watched:
        for each in tuple(watch.watched.values()):
            if each.gone:
                watch.watched.pop(each.name, None)
        lines = _picture(watch, options).splitlines()
        out(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN)
        time.sleep(_REFRESH_S)


STATS = Command(
    "[OPTIONS] [CONTAINER...]",
    show_stats,
    (
        Flag("all", "bool", "Show all containers (default shows just running)", "a"),
        FOR_LISTS,
        Flag("no-stream", "bool", "Disable streaming stats and only pull the first result"),
        Flag("no-trunc", "bool", "Do not truncate output"),
    ),
    most=UNLIMITED,
)
