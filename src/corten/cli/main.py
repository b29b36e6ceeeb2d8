"""Entry of `corten`: global options, then the command; what goes wrong becomes text and exit code."""

from __future__ import annotations

import os
import sys

from corten.cli import registry
from corten.cli.context import Context, err, out
from corten.cli.errors import ArgumentsError, ExitError, FlagError, HintedError
from corten.cli.flags import HELP, Flag, Options, parse
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.command import Command

PROGRAM = "corten"
_LEVELS = ("", "debug", "info", "warn", "error", "fatal")
INTERRUPTED = 130

GLOBAL_FLAGS = (
    Flag("config", "string", "Location of client config files", show_default='"~/.docker"'),
    Flag(
        "context",
        "string",
        "Name of the context to use to connect to the engine (overrides DOCKER_HOST env var and default "
        'context set with "corten context use")',
        "c",
    ),
    Flag("debug", "bool", "Enable debug mode", "D"),
    Flag("host", "list", "Engine socket to connect to", "H"),
    Flag("log-level", "string", 'Set the logging level ("debug", "info", "warn", "error", "fatal")', "l"),
    Flag("no-autostart", "bool", "Don't start an engine when none is running"),
    Flag("tls", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag("tlscert", "string", "Path to TLS certificate file"),
    Flag("tlskey", "string", "Path to TLS key file"),
    Flag("tlsverify", "bool", "Use TLS and verify the remote"),
    Flag("version", "bool", "Print version information and quit", "v"),
)


def main(arguments: list[str]) -> int:
    """Run a command line (without the program's name); give the exit code."""
    try:
        return _main(arguments)
    except ExitError as e:
        if str(e):
            err(f"{e}\n")
        return e.code
    except ClientError as e:
        err(f"{e}\n")
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    try:
        options, words = parse(GLOBAL_FLAGS, arguments, interspersed=False)
    except FlagError as e:
        usage = f"Usage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]"
        raise FlagError(f"{e}\n\n{usage}\n\nRun '{PROGRAM} --help' for more information") from e
    if options.on("version"):
        from corten import __version__

        out(f"Corten version {__version__}\n")
        return 0
    if options["log-level"] not in _LEVELS:
        raise ExitError(f"unable to parse logging level: {options['log-level']}")
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if options.on("help") or not words or words == ["--help"]:
        return _show_program_help()
    if words[0] == "__complete":
        from corten.cli import completion

        return completion.answer(GLOBAL_FLAGS, load, words[1:])
    found = registry.resolve(words)
    if found is None:
        return _no_command(words)
    path, typed, count = found
    return run_command(path, typed, load(path), Context(options), words[count:])


def load(path: str) -> Command:
    """Import the module of a command and give the command."""
    module, name, _ = registry.COMMANDS[path]
    qualified = f"corten.cli.{module}"
    __import__(qualified)
    command: Command = getattr(sys.modules[qualified], name)
    return command


def run_command(path: str, typed: str, command: Command, context: Context, arguments: list[str]) -> int:
    """Parse a command's own line and run it."""
    name = f"{PROGRAM} {typed}"
    if command.verbatim:
        return command.run(context, Options(()), arguments)
    try:
        options, rest = parse(command.flags, arguments, interspersed=command.interspersed)
        if options.on("help"):
            from corten.cli import help as texts
            from corten.cli.context import columns

            out(texts.command_help(path, typed, command, columns()))
            return 0
        command.check_arguments(name, len(rest))
        return command.run(context, options, rest)
    except FlagError as e:
        raise FlagError(f"{e}\n\n{_usage(typed, command)}\n\nRun '{name} --help' for more information") from e
    except ArgumentsError as e:
        hint = "See" if "at least" in str(e) and "at most" not in str(e) else "Run"
        text = f"{PROGRAM}: {e}\n\n{_usage(typed, command)}\n\n{hint} '{name} --help' for more information"
        raise ArgumentsError(text) from e
    except HintedError as e:
        raise ExitError(f"{PROGRAM}: {e}\n\nRun '{name} --help' for more information", e.code) from e


def _usage(typed: str, command: Command) -> str:
    return f"Usage:  {PROGRAM} {typed} {command.usage}".rstrip()


def _show_program_help() -> int:
    from corten.cli import help as texts
    from corten.cli.context import columns

    out(texts.program_help((*GLOBAL_FLAGS, HELP), columns()))
    return 0


def _no_command(words: list[str]) -> int:
    from corten.cli import help as texts

    group = words[0]
    typed = " ".join(words[:2])
    for name in (typed, group):
        if name in registry.UNSUPPORTED:
            raise ExitError(f"{PROGRAM}: '{PROGRAM} {name}' is not supported yet")
    if group not in registry.GROUPS:
        text = f"{PROGRAM}: unknown command: {PROGRAM} {group}\n\nRun '{PROGRAM} --help' for more information"
        raise ExitError(text)
    if len(words) > 1 and words[1] not in ("--help", "-h"):
        name = f"{PROGRAM} {group}"
        raise ExitError(
            f"{PROGRAM}: unknown command: {PROGRAM} {typed}\n\nUsage:  {name}\n\n"
            f"Run '{name} --help' for more information"
        )
    out(texts.group_help(group))
    return 0


def run() -> None:
    """Run the process's own command line and end the process without the interpreter's own finish (2 ms)."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code & 0xFF)
