"""`corten context`: named engines, shared with the docker CLI (see `corten.client.contexts`)."""

from __future__ import annotations

import os

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_DOCUMENTS, FOR_LISTS
from corten.client import address, contexts, jsontext
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHIVE_MAX = 10 << 20
_TLS_KEYS = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
_DEFAULT_TEXT = "Current DOCKER_HOST based configuration"


def _store(context: Context) -> contexts.ContextStore:
    return contexts.ContextStore(context.config_folder)


def create(context: Context, options: Options, arguments: list[str]) -> int:
    """Make one of an endpoint's settings, or of another context."""
    (name,) = arguments
    store = _store(context)
    contexts.check_name(name)
    if store.has(name):
        raise ExitError(f'context "{name}" already exists')
    settings, origin = options["docker"], options["from"]
    if settings and origin:
        raise ExitError("cannot use --docker flag when --from is set")
    if settings:
        document, certificates = _of_settings(store, name, options["description"], settings)
    else:
        source = origin or context.context_name
        document, certificates = _copy_of(context, store, source, name, options["description"])
    store.save(document, certificates)
    out(f"{name}\n")
    err(f'Successfully created context "{name}"\n')
    return 0


def _copy_of(
    context: Context, store: contexts.ContextStore, source: str, name: str, description: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    if source == contexts.DEFAULT:
        files = address.tls_from_environment()
        certificates = _read_certificates(_paths(files)) if files else {}
        skip = files is not None and not files.verify
        document = contexts.document_of(name, description, address.find([]), skip_verify=skip)
        return document, certificates
    found = store.get(source)
    document = {**found.document, "Name": name}
    if description:
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": description}
    return document, store.certificates(found)


def _paths(files: address.TLSFiles) -> dict[str, str]:
    paths = {"ca": files.ca, "cert": files.cert, "key": files.key}
    return {key: path for key, path in paths.items() if path and os.path.exists(path)}


def _of_settings(
    store: contexts.ContextStore, name: str, description: str, text: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The value of --docker: host=...,ca=...,cert=...,key=...,skip-tls-verify=..., or from=CONTEXT."""
    settings: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ExitError(
                f'invalid argument "{text}" for "--docker" flag: {part} must be formatted as key=value'
            )
        if key not in ("host", "ca", "cert", "key", "skip-tls-verify", "from"):
            raise ExitError(f"unable to create docker endpoint config: unrecognized config key: {key}")
        settings[key] = value
    if origin := settings.get("from"):
        found = store.get(origin)
        return {**contexts.document_of(name, description, found.host, skip_verify=found.skip_verify)}, (
            store.certificates(found)
        )
    host = settings.get("host") or address.DEFAULT_HOST
    address.parse(host)  # refuses what is none
    skip = settings.get("skip-tls-verify", "").lower() in ("1", "t", "true")
    paths = {key: path for key, path in settings.items() if key in _TLS_KEYS and path}
    certificates = _read_certificates(paths)
    return contexts.document_of(name, description, host, skip_verify=skip), certificates


def _read_certificates(paths: dict[str, str]) -> dict[str, bytes]:
    found = {}
    for key, path in paths.items():
        try:
            with open(os.path.expanduser(path), "rb") as file:
                found[_TLS_KEYS[key]] = file.read()
        except OSError as e:
            raise ExitError(
                f"unable to create docker endpoint config: open {path}: {(e.strerror or '').lower()}"
            ) from e
    return found


def update(context: Context, options: Options, arguments: list[str]) -> int:
    """Change description or endpoint."""
    (name,) = arguments
    store = _store(context)
    contexts.check_name(name)
    found = store.get(name)
    document, certificates = dict(found.document), store.certificates(found)
    if options["docker"]:
        made, certificates = _of_settings(store, name, "", options["docker"])
        document["Endpoints"] = {**(document.get("Endpoints") or {}), **made["Endpoints"]}
    if options.given("description"):
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": options["description"]}
    store.save(document, certificates)
    out(f"{name}\n")
    err(f'Successfully updated context "{name}"\n')
    return 0


def show_all(context: Context, options: Options, _: list[str]) -> int:
    """List them, the default one, too."""
    from corten.cli import table

    current = context.context_name
    rows = [(contexts.DEFAULT, _DEFAULT_TEXT, address.find([]), "")]
    rows += [(each.name, each.description, each.host, "") for each in _store(context).all()]
    if current not in [row[0] for row in rows]:
        rows.append((current, "", "", f'context "{current}": context not found'))
    rows.sort()
    if options.on("quiet"):
        out("".join(f"{row[0]}\n" for row in rows))
        return 0
    shown = [
        table.Row(
            {
                "Name": name,
                "Current": name == current,
                "Description": about,
                "DockerEndpoint": host,
                "Error": error,
            }
        )
        for name, about, host, error in rows
    ]
    template = options["format"]
    out(_listing().text(shown, _TABLE if template in ("", "table") else template))
    _warn_of_the_environment("a context")
    return 0


def show(context: Context, options: Options, _: list[str]) -> int:
    """Print the name of the current one."""
    out(f"{context.context_name}\n")
    return 0


def use(context: Context, options: Options, arguments: list[str]) -> int:
    """Make one the current one."""
    (name,) = arguments
    if name != contexts.DEFAULT:
        _store(context).get(name)
    _set_current(context, "" if name == contexts.DEFAULT else name)
    out(f"{name}\n")
    err(f'Current context is now "{name}"\n')
    if name != contexts.DEFAULT:
        _warn_of_the_environment(f'"{name}"')
    return 0


def _warn_of_the_environment(wanted: str) -> None:
    for name in ("CORTEN_HOST", "DOCKER_HOST"):
        if os.environ.get(name):
            err(
                f"Warning: {name} environment variable overrides the active context. To use {wanted}, either "
                f"set the global --context flag, or unset {name} environment variable.\n"
            )


def _set_current(context: Context, name: str) -> None:
    path = f"{context.config_folder}/config.json"
    if contexts.current(path) == name:
        return
    config = context.config()
    if not config and os.path.exists(path) and os.path.getsize(path):
        raise ExitError(f"{path} is not JSON: not changed")
    config.pop("currentContext", None)
    if name:
        config["currentContext"] = name
    os.makedirs(context.config_folder, 0o700, exist_ok=True)
    contexts.replace(path, jsontext.dumps_indented(config) + "\n")
    os.chmod(path, 0o600)


def remove(context: Context, options: Options, arguments: list[str]) -> int:
    """Remove some."""
    store, failures = _store(context), []
    for name in arguments:
        try:
            _remove(context, store, name, force=options.on("force"))
        except (ExitError, ClientError) as e:
            failures.append(str(e))
        else:
            out(f"{name}\n")
    if failures:
        raise ExitError("\n".join(failures))
    return 0


def _remove(context: Context, store: contexts.ContextStore, name: str, *, force: bool) -> None:
    if name == contexts.DEFAULT:
        raise ExitError('context "default" cannot be removed')
    if name == context.context_name:
        if not force:
            raise ExitError(f'context "{name}" is in use, set -f flag to force remove')
        _set_current(context, "")
    if not force and not store.has(name):
        raise ExitError(f'context "{name}" does not exist')
    store.remove(name)


def inspect(context: Context, options: Options, arguments: list[str]) -> int:
    """Show some whole."""
    store = _store(context)
    found = [_described(store, name) for name in arguments or [context.context_name]]
    template = options["format"]
    if template and template != "json":
        from corten.cli.template import render

        program = render.Program(template)
        out("".join(program.render(document) + "\n" for document in found))
    elif template:
        out("[" + ",".join(map(jsontext.dumps, found)) + "]\n")
    else:
        out(jsontext.dumps_indented(found) + "\n")
    return 0


def _described(store: contexts.ContextStore, name: str) -> dict[str, Any]:
    if name == contexts.DEFAULT:
        document = contexts.document_of(name, "", address.find([]), skip_verify=False)
        memory = {"MetadataPath": "\u003cIN MEMORY\u003e", "TLSPath": "\u003cIN MEMORY\u003e"}
        return {**document, "TLSMaterial": {}, "Storage": memory}
    found = store.get(name)
    files = found.tls_files()
    return {
        **found.document,
        "TLSMaterial": {"docker": files} if files else {},
        "Storage": {"MetadataPath": found.metadata_path, "TLSPath": found.tls_path},
    }


def export(context: Context, options: Options, arguments: list[str]) -> int:
    """Write one as a tar archive, as the docker CLI reads it."""
    import io
    import tarfile

    name = arguments[0]
    store = _store(context)
    found = store.get(name)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members = {"meta.json": jsontext.dumps(found.document).encode()}
        members |= {f"tls/docker/{file}": data for file, data in store.certificates(found).items()}
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o644 if path == "meta.json" else 0o600
            archive.addfile(info, io.BytesIO(data))
    target = arguments[1] if len(arguments) > 1 else f"{name}.dockercontext"
    if target == "-":
        if os.isatty(1):
            raise ExitError("cowardly refusing to export to a terminal, specify a file path")
        from corten.cli.context import write_all

        write_all(1, buffer.getvalue())
        return 0
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise ExitError(f"open {target}: {(e.strerror or '').lower()}") from e
    with open(fd, "wb") as file:
        file.write(buffer.getvalue())
    err(f'Written file "{target}"\n')
    return 0


def import_(context: Context, options: Options, arguments: list[str]) -> int:
    """Make one of such an archive. Of what is in it only meta.json and three certificates are looked at."""
    import io
    import tarfile

    name, path = arguments
    store = _store(context)
    contexts.check_name(name)
    if store.has(name):
        raise ExitError(f'context "{name}" already exists')
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            data = file.read(_ARCHIVE_MAX + 1)
    except OSError as e:
        raise ExitError(f"open {path}: {(e.strerror or '').lower()}") from e
    if len(data) > _ARCHIVE_MAX:
        raise ExitError("the archive is too large to be that of a context")
    data += bytes(-len(data) % 512 + 1024)  # docker ends its archives with the last file's last byte
    wanted = {"meta.json", *(f"tls/docker/{file}" for file in contexts.TLS_FILES)}
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for info in archive:
                if info.isreg() and info.name in wanted and (stream := archive.extractfile(info)):
                    members[info.name] = stream.read()
        document = jsontext.loads(members.pop("meta.json").decode())
    except (tarfile.TarError, KeyError, ValueError) as e:
        raise ExitError("invalid context: no tar archive with a meta.json in it") from e
    if not isinstance(document, dict):
        raise ExitError("invalid context: meta.json is no object")
    store.save({**document, "Name": name}, {path.rpartition("/")[2]: each for path, each in members.items()})
    out(f"{name}\n")
    err(f'Successfully imported context "{name}"\n')
    return 0


def _listing() -> Any:
    from corten.cli import table

    return table.Listing(
        ("Name", "Description", "DockerEndpoint", "Error"),
        {
            "Name": "NAME",
            "Current": "",
            "Description": "DESCRIPTION",
            "DockerEndpoint": "DOCKER ENDPOINT",
            "Error": "ERROR",
        },
    )


_DESCRIPTION = Flag("description", "string", "Description of the context")
_DOCKER = Flag("docker", "string", "set the docker endpoint", show_default="[]")

CREATE = Command(
    "[OPTIONS] CONTEXT",
    create,
    (_DESCRIPTION, _DOCKER, Flag("from", "string", "create context from a named context")),
    least=1,
    most=1,
)
UPDATE = Command("[OPTIONS] CONTEXT", update, (_DESCRIPTION, _DOCKER), least=1, most=1)
LIST = Command("[OPTIONS]", show_all, (FOR_LISTS, Flag("quiet", "bool", "Only show context names", "q")))
SHOW = Command("", show)
USE = Command("CONTEXT", use, least=1, most=1)
REMOVE = Command(
    "CONTEXT [CONTEXT...]",
    remove,
    (Flag("force", "bool", "Force the removal of a context in use", "f"),),
    least=1,
    most=UNLIMITED,
)
INSPECT = Command("[OPTIONS] [CONTEXT] [CONTEXT...]", inspect, (FOR_DOCUMENTS,), most=UNLIMITED)
EXPORT = Command("CONTEXT [FILE|-]", export, least=1, most=2)
IMPORT = Command("CONTEXT FILE|-", import_, least=2, most=2)
