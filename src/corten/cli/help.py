"""Help texts, laid out as Docker's: usage, description, aliases, options wrapped beside their names."""

from __future__ import annotations

from corten.cli import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.command import Command
    from corten.cli.flags import Flag

PROGRAM = "corten"
_ZEROS = ("", "0", "false", "False")
_MIN_USAGE_COLUMNS = 24


def usage_line(typed: str, command: Command) -> str:
    """The line that shows how to call a command."""
    return f"Usage:  {PROGRAM} {typed} {command.usage}".rstrip()


def command_help(path: str, typed: str, command: Command, columns: int) -> str:
    """The whole help of a command."""
    parts = [usage_line(typed, command), registry.COMMANDS[path][2]]
    if command.note:
        parts.append(command.note)
    names = registry.names_of(path)
    if len(names) > 1:
        parts.append("Aliases:\n  " + ", ".join(f"{PROGRAM} {name}" for name in names))
    if any(not flag.hidden for flag in command.flags):
        parts.append("Options:\n" + options_block(command.flags, columns))
    return "\n\n".join(parts) + "\n"


def options_block(flags: Sequence[Flag], columns: int) -> str:
    """Options, sorted by name; usages are wrapped at `columns`."""
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    heads = [_head(flag) for flag in shown]
    width = max(map(len, heads)) + 3
    lines = []
    for flag, head in zip(shown, heads, strict=True):
        wrapped = _wrap(flag.usage + _default(flag), max(columns - width, _MIN_USAGE_COLUMNS))
        lines.append(head.ljust(width) + wrapped[0])
        lines += [" " * width + line for line in wrapped[1:]]
    return "\n".join(line.rstrip() for line in lines)


def _head(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    kind = {"bool": "", "swap": " bytes", "strings": " strings"}.get(flag.kind, f" {flag.kind}")
    return f"  {short}--{flag.name}{kind}"


def _default(flag: Flag) -> str:
    if flag.show_default:
        return f" (default {flag.show_default})"
    text = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
    if text in _ZEROS:
        return ""
    return f' (default "{text}")' if flag.kind == "string" else f" (default {text})"


def _wrap(text: str, columns: int) -> list[str]:
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > columns:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def group_help(group: str) -> str:
    """The help of a management command."""
    rows = {
        path.partition(" ")[2]: entry[2]
        for path, entry in registry.COMMANDS.items()
        if path.startswith(group + " ")
    }
    return (
        f"Usage:  {PROGRAM} {group} COMMAND\n\n{registry.GROUPS[group]}\n\nCommands:\n{_listing(rows)}\n\n"
        f"Run '{PROGRAM} {group} COMMAND --help' for more information on a command.\n"
    )


def program_help(flags: Sequence[Flag], columns: int) -> str:
    """The help of the program itself."""
    short = {name: registry.COMMANDS[path][2] for name, path in registry.TOP.items()}
    short |= {path: entry[2] for path, entry in registry.COMMANDS.items() if " " not in path}
    common = {name: short.pop(name) for name in registry.COMMON}
    blocks = [
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND",
        "Docker's commands on a container engine in Python",
        f"Common Commands:\n{_listing(common)}",
        f"Management Commands:\n{_listing(registry.GROUPS)}",
        f"Commands:\n{_listing(dict(sorted(short.items())))}",
        f"Global Options:\n{options_block(flags, columns)}",
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(blocks) + "\n"


def _listing(rows: dict[str, str]) -> str:
    width = max(11, *map(len, rows))
    return "\n".join(f"  {name.ljust(width)} {text}" for name, text in rows.items())
