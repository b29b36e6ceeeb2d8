"""`corten version`: the client's and the engine's versions, components and all."""

from __future__ import annotations

import os
import sys

from corten import __version__
from corten.cli.command import Command
from corten.cli.context import err, out
from corten.cli.format_flag import FOR_DOCUMENTS
from corten.client.engine import API_VERSION
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.context import Context
    from corten.cli.flags import Options

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}
_COLUMN = 20


def show_version(context: Context, options: Options, _: list[str]) -> int:
    """Print both versions; exit code 1 if the engine does not answer, the client's being shown still."""
    template = options["format"]
    server: dict[str, Any] | None = None
    failure = ""
    version = API_VERSION
    try:
        server = context.engine.get("/version")
        version = context.engine.version
    except ClientError as e:
        failure = str(e)
    document = {"Client": _client(version), "Server": server}
    if template:
        from corten.cli.template import render

        out(render.one(template, document, name="version") + "\n")
    else:
        out(_text(document))
    if failure:
        err(f"{failure}\n")
        return 1
    return 0


def _client(version: str) -> dict[str, Any]:
    uname = os.uname()
    return {
        "Platform": {"Name": "Corten"},
        "Version": __version__,
        "ApiVersion": version,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": uname.sysname.lower(),
        "Arch": _MACHINES.get(uname.machine, uname.machine),
        "Context": "default",
    }


def _text(document: dict[str, Any]) -> str:
    client, server = document["Client"], document["Server"]
    lowered = client["ApiVersion"] != client["DefaultAPIVersion"]
    api = (
        f"{client['ApiVersion']} (downgraded from {client['DefaultAPIVersion']})"
        if lowered
        else client["ApiVersion"]
    )
    rows = {
        "Version": client["Version"],
        "API version": api,
        "Python version": client["PythonVersion"],
        "OS/Arch": f"{client['Os']}/{client['Arch']}",
        "Context": client["Context"],
    }
    lines = ["Client: " + client["Platform"]["Name"], *_rows(rows, " ")]
    if server is not None:
        name = (server.get("Platform") or {}).get("Name", "")
        lines += ["", f"Server: {name}".rstrip()]
        for component in server.get("Components") or [_as_component(server)]:
            lines += [f" {component.get('Name')}:", *_rows(_component_rows(component), "  ")]
    return "\n".join(lines) + "\n"


def _rows(rows: dict[str, str], margin: str) -> list[str]:
    return [f"{margin}{name + ':':<{_COLUMN - len(margin)}}{value}" for name, value in rows.items()]


def _as_component(server: dict[str, Any]) -> dict[str, Any]:
    """Engines before 18.09 have no components: they are one."""
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": server}


def _component_rows(component: dict[str, Any]) -> dict[str, str]:
    details = component.get("Details") or {}
    rows = {"Version": component.get("Version", "")}
    if component.get("Name") != "Engine":
        return rows | {name: str(value) for name, value in sorted(details.items())}
    oldest = details.get("MinAPIVersion")
    rows["API version"] = details.get("ApiVersion", "") + (f" (minimum version {oldest})" if oldest else "")
    language = details.get("GoVersion", "")
    if language.startswith("python"):  # ours, which is not built
        rows["Python version"] = language.removeprefix("python")
    else:
        rows |= {
            "Go version": language,
            "Git commit": details.get("GitCommit", ""),
            "Built": _build_time(details.get("BuildTime", "")),
        }
    rows |= {
        "OS/Arch": f"{details.get('Os', '')}/{details.get('Arch', '')}",
        "Experimental": str(details.get("Experimental", "false")).lower(),
    }
    return rows


def _build_time(text: str) -> str:
    """RFC 3339 as Go's ANSIC, as Docker shows it."""
    from corten.cli import clock

    moment = clock.parse(text)
    return text if moment is None else clock.ansic(moment)


VERSION = Command(
    "[OPTIONS]",
    show_version,
    (FOR_DOCUMENTS,),
)
