"""`corten info`."""

from __future__ import annotations

from corten import __version__
from corten.cli import sizes
from corten.cli.command import Command
from corten.cli.context import Context, err, out
from corten.cli.flags import Options
from corten.cli.format_flag import FOR_DOCUMENTS
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# label: field of the answer, shown if it has a value
_BINARIES = (
    ("Default Runtime", "DefaultRuntime"),
    ("Init Binary", "InitBinary"),
)
_COMMITS = (
    ("containerd version", "ContainerdCommit"),
    ("runc version", "RuncCommit"),
    ("init version", "InitCommit"),
)
_MACHINE = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
)
_PROXIES = (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy"))


def show_info(context: Context, options: Options, _: list[str]) -> int:
    """Print what the engine says about itself and its machine; its warnings go to stderr."""
    client = {"Debug": False, "Version": __version__, "Platform": {"Name": "Corten"}, "Context": "default"}
    info: dict[str, Any] | None = None
    failure = ""
    try:
        info = context.engine.get("/info")
    except ClientError as e:
        failure = str(e)
    if template := options["format"]:
        from corten.cli.template import render

        document = {**(info or {}), "ServerErrors": [failure] if failure else None, "ClientInfo": client}
        out(render.one(template, document) + "\n")
    else:
        lines = [
            "Client: Corten",
            f" Version:    {__version__}",
            " Context:    default",
            " Debug Mode: false",
            "",
        ]
        lines += ["Server:", *(_lines(info) if info else ())]
        out("\n".join(lines) + "\n" + ("\n" if info else ""))
    for warning in (info or {}).get("Warnings") or ():
        err(f"{warning}\n")
    if failure:
        err(f"{failure}\n")
        return 1
    return 0


def _lines(info: dict[str, Any]) -> Iterator[str]:
    yield f" Containers: {info.get('Containers', 0)}"
    for state in ("Running", "Paused", "Stopped"):
        yield f"  {state}: {info.get(f'Containers{state}', 0)}"
    yield f" Images: {info.get('Images', 0)}"
    yield from _given(info, (("Server Version", "ServerVersion"), ("Storage Driver", "Driver")))
    yield from (f"  {name}: {value}" for name, value in info.get("DriverStatus") or ())
    yield from _given(
        info,
        (
            ("Logging Driver", "LoggingDriver"),
            ("Cgroup Driver", "CgroupDriver"),
            ("Cgroup Version", "CgroupVersion"),
        ),
    )
    yield from _plugins(info.get("Plugins") or {})
    if folders := info.get("CDISpecDirs"):
        yield " CDI spec directories:"
        yield from (f"  {folder}" for folder in folders)
    swarm = info.get("Swarm") or {}
    yield f" Swarm: {swarm.get('LocalNodeState') or 'inactive'}"
    if runtimes := info.get("Runtimes"):
        yield f" Runtimes: {' '.join(sorted(runtimes))}"
    yield from _given(info, _BINARIES)
    for label, field in _COMMITS:
        if commit := (info.get(field) or {}).get("ID"):
            yield f" {label}: {commit}"
    yield from _security(info.get("SecurityOptions") or [])
    yield from _given(info, _MACHINE)
    yield f" CPUs: {info.get('NCPU', 0)}"
    yield f" Total Memory: {sizes.binary(info.get('MemTotal', 0))}"
    yield from _given(info, (("Name", "Name"), ("ID", "ID")))
    yield f" Docker Root Dir: {info.get('DockerRootDir', '')}"
    yield f" Debug Mode: {_switch(info.get('Debug'))}"
    if info.get("Debug"):
        yield f"  File Descriptors: {info.get('NFd', 0)}"
        yield f"  Goroutines: {info.get('NGoroutines', 0)}"
        yield f"  System Time: {info.get('SystemTime', '')}"
        yield f"  EventsListeners: {info.get('NEventsListener', 0)}"
    yield from _given(info, _PROXIES)
    if labels := info.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in labels)
    yield f" Experimental: {_switch(info.get('ExperimentalBuild'))}"
    yield from _registries(info.get("RegistryConfig") or {})
    yield f" Live Restore Enabled: {_switch(info.get('LiveRestoreEnabled'))}"
    if pools := info.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        yield from (f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools)


def _given(info: dict[str, Any], rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    return (f" {label}: {info[field]}" for label, field in rows if info.get(field))


def _switch(value: object) -> str:
    return "true" if value else "false"


def _plugins(plugins: dict[str, Any]) -> Iterator[str]:
    yield " Plugins:"
    for kind in ("Volume", "Network", "Authorization", "Log"):
        names = plugins.get(kind)
        if names or kind in ("Volume", "Network", "Log"):
            yield f"  {kind}: {' '.join(names or ())}"


def _security(options: list[str]) -> Iterator[str]:
    if options:
        yield " Security Options:"
    for option in options:
        fields = [field.partition("=") for field in option.split(",")]
        for key, equals, value in fields:
            if key == "name":
                yield f"  {value}"
            elif equals:
                yield f"   {key.capitalize()}: {value}"


def _registries(config: dict[str, Any]) -> Iterator[str]:
    insecure = [
        n for n, index in sorted((config.get("IndexConfigs") or {}).items()) if not index.get("Secure")
    ]
    insecure += config.get("InsecureRegistryCIDRs") or []
    if insecure:
        yield " Insecure Registries:"
        yield from (f"  {name}" for name in insecure)
    if mirrors := config.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in mirrors)


INFO = Command("[OPTIONS]", show_info, (FOR_DOCUMENTS,))
