"""`corten build`: the context to POST /build, the engine's progress to stdout."""

from __future__ import annotations

import binascii
import os
import stat

from corten.cli import progress
from corten.cli.command import Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Options
from corten.cli.image import buildflags, extras, localcache, outputs, steps
from corten.cli.image import context as contexts
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

_CHUNK_BYTES = 1 << 20
_URLS = ("http://", "https://", "git://", "github.com/", "git@", "ssh://")
_TRACE = "corten.trace"  # ids of messages: `corten.builder.frontends.trace`, `corten.builder.builder`
_CALL = "corten.build.call"

# query field: flag; sent only if the flag is on the line
_TEXTS = {
    "target": "target",
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
    wanted = outputs.outputs(options)
    mode = steps.mode(options["progress"], quiet=options.on("quiet"))
    if options.on("verify"):
        from corten.cli.image import verify

        return verify.verify(context, options, arguments[0], mode)
    if path := options["iidfile"]:
        _remove(path)  # a build that fails leaves none of an earlier one
    built = _built(context, options, arguments[0], wanted, mode)
    if built is None:
        return 0  # a question has been answered
    image, exported = built
    if path := options["iidfile"]:
        _write(path, image or _no_id(path))
    if path := options["metadata-file"]:
        names = ",".join(options.items("tag"))
        document = exported or {"containerimage.config.digest": image, "image.name": names}
        shown = {key: _decoded(document[key]) for key in sorted(document)}
        _write(path, jsontext.dumps_indented(shown, "  "))
    return 0


def _decoded(value: str) -> object:
    """What exporters answer: text, or a document in base64 (descriptors)."""
    try:
        found = jsontext.loads(binascii.a2b_base64(value.encode(), strict_mode=True))
    except ValueError:
        return value
    return found if isinstance(found, dict) and found else value


def send(context: Context, options: Options, where: str, more: dict[str, object]) -> Iterable[bytes]:
    """Send a build; its stream. `more`: fields of the query."""
    given, folders = extras.named_contexts(options)
    body, place = _context(options, where, folders)
    fields = {**_query(options), **place, **more}
    if given:
        fields["contexts"] = jsontext.dumps(given)
    if document := extras.prologue(context, options):
        fields["prologue"] = len(document)
        body = extras.with_prologue(document, body)
    from corten.cli.system import credentials

    headers = {"Content-Type": "application/x-tar", **credentials.all_headers(context)}
    return context.engine.call("POST", "/build", fields, body, headers)


def _built(
    context: Context, options: Options, where: str, wanted: list[outputs.Output], mode: str
) -> tuple[str, dict[str, Any]] | None:
    """The image's id and what the exporters say; None if the Dockerfile was only asked something."""
    call = "check" if options.on("check") else options["call"].partition(",")[0]
    if call not in ("", "build"):
        _ask(context, options, where, call)
        return None
    more: dict[str, object] = {}
    if attested := outputs.attestations(options, wanted):
        more["attests"] = jsontext.dumps(attested)
    if wanted:
        more["outputs"] = jsontext.dumps([output.asked for output in wanted])
    caches = localcache.LocalCaches(options)
    is_plain = not more and not caches.wanted and len(options.items("platform")) < 2
    if is_plain and os.environ.get("DOCKER_BUILDKIT") == "0":
        if mode == steps.QUIET:
            return _show_quietly(send(context, options, where, {"q": 1})), {}
        image = ""

        def keep(aux: Any) -> None:
            nonlocal image
            image = str(aux.get("ID", "")) or image

        progress.show(send(context, options, where, {}), 1, keep)
        return image, {}
    return _exported(context, options, where, wanted, {**more, "trace": 1}, caches, mode)


def _exported(
    context: Context,
    options: Options,
    where: str,
    wanted: list[outputs.Output],
    more: dict[str, object],
    caches: localcache.LocalCaches,
    mode: str,
) -> tuple[str, dict[str, Any]]:
    """Build, fetching what is held ready for us on the way. more: fields of the query."""
    exported: dict[str, Any] = {}

    def fetched() -> Iterator[bytes]:
        for message in progress.messages(send(context, options, where, more)):
            aux = message.get("aux")
            if message.get("id") == outputs.OUTPUT and isinstance(aux, dict):
                outputs.take(context, wanted, aux)
                continue
            if isinstance(aux, dict) and isinstance(aux.get("Exported"), dict):
                exported.update(aux["Exported"])
            yield jsontext.dumps(message).encode() + b"\n"

    caches.bring(context)
    image = show_trace(fetched(), steps.steps_for(mode), caches.take)
    caches.keep(context)
    if mode == steps.QUIET and image:
        out(f"{image}\n")
    return image, exported


def show_trace(
    response: Iterable[bytes],
    display: steps.Steps,
    take_cache: Callable[[dict[str, Any]], None] | None = None,
) -> str:
    """Show a build's steps; the image's id. Raises ExitError for its failure.

    take_cache: is told what a cache on this machine will consist of.
    An engine that tells nothing of steps has its stream shown as it is.
    """
    image = ""
    traced = False

    def keep(aux: Any) -> None:
        nonlocal image
        image = str(aux.get("ID", "")) or image

    def others() -> Iterator[bytes]:
        nonlocal traced
        for message in progress.messages(response):
            if message.get("id") == _TRACE:
                traced = True
                display.take(message["aux"])
            elif message.get("id") == localcache.TOLD:
                if take_cache is not None:
                    take_cache(message["aux"])
            else:
                yield jsontext.dumps(message).encode() + b"\n"

    try:
        progress.show(others(), None if isinstance(display, steps.Quiet) else 1, keep)
    except ExitError as error:
        display.close()
        if not traced:
            raise
        if display.failure is not None:
            err(display.failure.text())
        raise ExitError(f"ERROR: failed to build: failed to solve: {error}") from error
    display.close()
    return image


def _ask(context: Context, options: Options, where: str, call: str) -> None:
    """`--call`: what the engine answers, as text or (`--call=CALL,format=json`) as a document."""
    as_json = "format=json" in options["call"]
    status = 0
    for message in progress.messages(send(context, options, where, {"call": call})):
        if error := message.get("errorDetail"):
            raise ExitError(f"ERROR: failed to build: failed to solve: {error.get('message')}")
        aux = message.get("aux")
        if message.get("id") != _CALL or not isinstance(aux, dict):
            continue
        status = int(aux.get("status") or 0)
        if as_json:
            out(jsontext.dumps_indented(aux.get("document"), "  ") + "\n")
            continue
        if call in ("check", "lint"):
            count = len((aux.get("document") or {}).get("warnings") or ())
            found = f"{count} warning has" if count == 1 else f"{count} warnings have"
            out(f"Check complete, {f'{found} been found!' if count else 'no warnings found.'}\n")
        out(str(aux.get("text") or ""))
    if status:
        raise ExitError("", status)


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


def _no_id(path: str) -> str:
    raise ExitError(f"server did not provide an image ID. Cannot write {path}")


def _remove(path: str) -> None:
    """Unless it is no file, but a way to somewhere: /dev/stdout."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise ExitError(f"removing image ID file: remove {path}: {(e.strerror or '').lower()}") from e


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise ExitError(f"open {path}: {(e.strerror or '').lower()}") from e


def _query(options: Options) -> dict[str, object]:
    fields: dict[str, object] = {"t": options.items("tag"), "version": 1, "rm": int(options.on("rm"))}
    fields |= {field: options[flag] for field, flag in _TEXTS.items() if options.given(flag)}
    fields |= {field: options.number(flag) for field, flag in _NUMBERS.items() if options.given(flag)}
    fields |= {field: 1 for field, flag in _SWITCHES.items() if options.on(flag)}
    if arguments := {**_given_epoch(), **dict(map(_build_argument, options.items("build-arg")))}:
        fields["buildargs"] = jsontext.dumps(arguments)
    if items := options.items("platform"):
        fields["platform"] = ",".join(map(_platform, items))
    if items := options.items("label"):
        fields["labels"] = jsontext.dumps({k: v for k, _, v in (item.partition("=") for item in items)})
    if items := options.items("cache-from"):
        others = [item for item in items if not localcache.is_local(item)]
        names = [[item] if "=" in item else item.split(",") for item in others]
        fields["cachefrom"] = jsontext.dumps([name for each in names for name in each])
    if items := options.items("cache-to"):
        fields["cacheto"] = jsontext.dumps(items)
    if items := options.items("allow"):
        fields["allow"] = items
    if items := options.items("no-cache-filter"):
        fields["nocachefilter"] = jsontext.dumps(items)
    if os.environ.get("DOCKER_BUILDKIT") == "0":  # BuildKit takes these and has no use for them
        fields |= {"isolation": options["isolation"] or None, "securityopt": options.items("security-opt")}
    if items := options.items("add-host"):
        fields["extrahosts"] = [item.replace("=", ":", 1) if "=" in item else item for item in items]
    if options.items("ulimit"):
        from corten.cli.container.limits import ulimits

        fields["ulimits"] = jsontext.dumps(ulimits(options))
    return fields


def _platform(text: str) -> str:
    """`local` is the machine that we run on, wherever the engine does."""
    return f"linux/{os.uname().machine}" if text.lower() == "local" else text


def _given_epoch() -> dict[str, str | None]:
    """Our variable SOURCE_DATE_EPOCH is the build's, too, as buildx has it."""
    moment = os.environ.get("SOURCE_DATE_EPOCH")
    return {"SOURCE_DATE_EPOCH": moment} if moment else {}


def _build_argument(item: str) -> tuple[str, str | None]:
    """A bare NAME takes our variable's value; without one the engine's default stays (null)."""
    name, equals, value = item.partition("=")
    return name, value if equals else os.environ.get(name)


def _context(
    options: Options, where: str, others: dict[str, str]
) -> tuple[bytes | Iterable[bytes], dict[str, object]]:
    """The body of the request, and the query fields that say what is in it. `others`: named contexts."""
    dockerfile = options["file"]
    if others and (where == "-" or (where.startswith(_URLS) and not os.path.isdir(where))):
        raise ExitError("--build-context with a folder needs a folder as the build's own context")
    if where == "-":
        if dockerfile == "-":
            raise ExitError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(dockerfile)
    if where.startswith(_URLS) and not os.path.isdir(where):
        return b"", {"remote": where, "dockerfile": dockerfile or None}
    return _from_folder(where, dockerfile, others)


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


def _from_folder(
    where: str, dockerfile: str, others: dict[str, str]
) -> tuple[Iterable[bytes], dict[str, object]]:
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
    stream = contexts.folder_stream(folder, ignore, always, others)
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


BUILD = Command("[OPTIONS] PATH | URL | -", build, (*buildflags.CLASSIC, *buildflags.BUILDX), least=1, most=1)
