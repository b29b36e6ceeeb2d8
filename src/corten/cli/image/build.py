"""`corten build`: the context to POST /build, the engine's progress to stdout."""

from __future__ import annotations

import os

from corten.cli import progress
from corten.cli.command import Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image import context as contexts
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_CHUNK_BYTES = 1 << 20
_URLS = ("http://", "https://", "git://", "github.com/", "git@")

# query field: flag; sent only if the flag is on the line
_TEXTS = {
    "target": "target",
    "platform": "platform",
    "networkmode": "network",
    "cgroupparent": "cgroup-parent",
    "cpusetcpus": "cpuset-cpus",
    "cpusetmems": "cpuset-mems",
}
_NUMBERS = {
    "memory": "memory",
    "memswap": "memory-swap",
    "shmsize": "shm-size",
    "cpushares": "cpu-shares",
    "cpuperiod": "cpu-period",
    "cpuquota": "cpu-quota",
}
_SWITCHES = {"nocache": "no-cache", "forcerm": "force-rm", "squash": "squash", "pull": "pull"}


def build(context: Context, options: Options, arguments: list[str]) -> int:
    """Build an image; an engine's exit code for a failed RUN becomes ours."""
    body, place = _context(options, arguments[0])
    fields = {**_query(options), **place}
    from corten.cli.system import credentials

    headers = {"Content-Type": "application/x-tar", **credentials.all_headers(context)}
    response = context.engine.call("POST", "/build", fields, body, headers)
    image = ""

    def keep(aux: Any) -> None:
        nonlocal image
        image = str(aux.get("ID", "")) or image

    if options.on("quiet"):
        image = _show_quietly(response)
    else:
        progress.show(response, 1, keep)
    if path := options["iidfile"]:
        _write_id(path, image)
    return 0


def _show_quietly(response: Iterable[bytes]) -> str:
    """Print only the image's id, which is the engine's whole output then; or everything, if it fails."""
    printed: list[str] = []

    def kept() -> Iterator[bytes]:
        for message in progress.messages(response):
            printed.append(str(message.get("stream", "")))
            yield jsontext.dumps(message).encode() + b"\n"

    try:
        progress.show(kept(), None)
    except ExitError:
        err("".join(printed))
        raise
    out("".join(printed))
    return "".join(printed).strip()


def _write_id(path: str, image: str) -> None:
    if not image:
        raise ExitError(f"server did not provide an image ID. Cannot write {path}")
    try:
        with open(path, "w", encoding="ascii") as f:
            f.write(image)
    except OSError as e:
        raise ExitError(f"open {path}: {(e.strerror or '').lower()}") from e


def _query(options: Options) -> dict[str, object]:
    fields: dict[str, object] = {"t": options.items("tag"), "version": 1, "rm": int(options.on("rm"))}
    if options.on("quiet"):
        fields["q"] = 1
    fields |= {field: options[flag] for field, flag in _TEXTS.items() if options.given(flag)}
    fields |= {field: options.number(flag) for field, flag in _NUMBERS.items() if options.given(flag)}
    fields |= {field: 1 for field, flag in _SWITCHES.items() if options.on(flag)}
    if items := options.items("build-arg"):
        fields["buildargs"] = jsontext.dumps(dict(map(_build_argument, items)))
    if items := options.items("label"):
        fields["labels"] = jsontext.dumps({k: v for k, _, v in (item.partition("=") for item in items)})
    if items := options.items("cache-from"):
        fields["cachefrom"] = jsontext.dumps(items)
    if items := options.items("security-opt"):
        fields["securityopt"] = jsontext.dumps(items)
    if items := options.items("add-host"):
        fields["extrahosts"] = [item.replace("=", ":", 1) if "=" in item else item for item in items]
    if options.items("ulimit"):
        from corten.cli.container.limits import ulimits

        fields["ulimits"] = jsontext.dumps(ulimits(options))
    return fields


def _build_argument(item: str) -> tuple[str, str | None]:
    """A bare NAME takes our variable's value; without one the engine's default stays (null)."""
    name, equals, value = item.partition("=")
    return name, value if equals else os.environ.get(name)


def _context(options: Options, where: str) -> tuple[bytes | Iterable[bytes], dict[str, object]]:
    """The body of the request, and the query fields that say what is in it."""
    dockerfile = options["file"]
    if where == "-":
        if dockerfile == "-":
            raise ExitError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(dockerfile)
    if where.startswith(_URLS) and not os.path.isdir(where):
        return b"", {"remote": where, "dockerfile": dockerfile or None}
    return _from_folder(where, dockerfile)


def _from_stdin(dockerfile: str) -> tuple[Iterable[bytes], dict[str, object]]:
    """Stdin holds a whole context, or a Dockerfile alone."""
    head = b""
    while len(head) < 512 and (data := os.read(0, _CHUNK_BYTES)):
        head += data
    if contexts.is_archive(head):
        return _rest_of_stdin(head), {"dockerfile": dockerfile or None}
    if dockerfile:
        raise ExitError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    name = _random_name()
    return contexts.dockerfile_stream(name, b"".join(_rest_of_stdin(head))), {"dockerfile": name}


def _rest_of_stdin(head: bytes) -> Iterable[bytes]:
    while head:
        yield head
        head = os.read(0, _CHUNK_BYTES)


def _from_folder(where: str, dockerfile: str) -> tuple[Iterable[bytes], dict[str, object]]:
    folder = os.path.realpath(where)
    if not os.path.isdir(folder):
        if not os.path.exists(folder):
            raise ExitError(f'unable to prepare context: path "{where}" not found')
        raise ExitError(f"unable to prepare context: context must be a directory: {folder}")
    inside, outside = "Dockerfile", None
    if dockerfile == "-":
        outside = b"".join(_rest_of_stdin(os.read(0, _CHUNK_BYTES)))
    elif dockerfile:
        inside, outside = _locate(folder, dockerfile)
    elif not os.path.exists(os.path.join(folder, inside)) and os.path.exists(
        os.path.join(folder, "dockerfile")
    ):
        inside = "dockerfile"
    if outside is None and not os.path.lexists(os.path.join(folder, inside)):
        path = os.path.join(folder, inside)
        problem = f"unable to evaluate symlinks in Dockerfile path: lstat {path}: no such file or directory"
        raise ExitError(f"unable to prepare context: {problem}")
    ignore, ignore_file = contexts.read_ignore(folder, inside)
    always = frozenset(name for name in (inside, ignore_file) if name)
    stream = contexts.folder_stream(folder, ignore, always)
    if outside is None:
        return stream, {"dockerfile": inside}
    name = _random_name()
    return contexts.with_extra_file(stream, name, outside), {"dockerfile": name}


def _locate(folder: str, dockerfile: str) -> tuple[str, bytes | None]:
    """A Dockerfile's path in the context; or its bytes if it is outside."""
    full = os.path.realpath(dockerfile)
    if full.startswith(folder.rstrip("/") + "/"):
        return os.path.relpath(full, folder), None
    try:
        with open(full, "rb") as f:
            return "Dockerfile", f.read()
    except OSError as e:
        problem = f"open {dockerfile}: {(e.strerror or '').lower()}"
        raise ExitError(f"unable to prepare context: unable to open Dockerfile: {problem}") from e


def _random_name() -> str:
    return f".dockerfile.{os.urandom(10).hex()}"


BUILD = Command(
    "[OPTIONS] PATH | URL | -",
    build,
    (
        Flag("add-host", "list", 'Add a custom host-to-IP mapping ("host:ip")'),
        Flag("build-arg", "list", "Set build-time variables"),
        Flag("cache-from", "strings", "Images to consider as cache sources"),
        Flag("cgroup-parent", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
        Flag("cpu-period", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
        Flag("cpu-quota", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        Flag("cpu-shares", "int", "CPU shares (relative weight)", "c"),
        Flag("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        Flag("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        Flag("disable-content-trust", "bool", "Skip image verification", default=True, hidden=True),
        Flag("file", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', "f"),
        Flag("force-rm", "bool", "Always remove intermediate containers"),
        Flag("iidfile", "string", "Write the image ID to the file"),
        Flag("label", "list", "Set metadata for an image"),
        Flag("memory", "bytes", "Memory limit", "m"),
        Flag("memory-swap", "swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        Flag(
            "network",
            "string",
            "Set the networking mode for the RUN instructions during build",
            default="default",
        ),
        Flag("no-cache", "bool", "Do not use cache when building the image"),
        Flag("platform", "string", "Set platform if server is multi-platform capable"),
        Flag("pull", "bool", "Always attempt to pull a newer version of the image"),
        Flag("quiet", "bool", "Suppress the build output and print image ID on success", "q"),
        Flag("rm", "bool", "Remove intermediate containers after a successful build", default=True),
        Flag("security-opt", "strings", "Security options"),
        Flag("shm-size", "bytes", 'Size of "/dev/shm"'),
        Flag("squash", "bool", "Squash newly built layers into a single new layer"),
        Flag("tag", "list", 'Name and optionally a tag in the "name:tag" format', "t"),
        Flag("target", "string", "Set the target build stage to build."),
        Flag("ulimit", "ulimit", "Ulimit options", show_default="[]"),
    ),
    least=1,
    most=1,
)
