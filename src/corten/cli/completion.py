"""What may follow on a command line: `corten completion SHELL` prints a shell's script, which asks
`corten __complete WORDS...` for candidates.

Everything comes from the command table: commands and their descriptions from `registry`, flags from the
command, and what an argument names from the word that its usage line has for it (CONTAINER, IMAGE, ...).

The answer is a candidate a line, with its description behind a tab, and a last line `:0` if file names may
follow as well, `:4` if not (cobra's protocol, so scripts made for docker's work).
"""

from __future__ import annotations

from corten.cli import registry
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError, FlagError
from corten.cli.flags import HELP, Flag, Options, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Candidate = tuple[str, str]
FILES, NO_FILES = 0, 4

# what a word in a usage line names, and what is asked of the engine for it
_KINDS = {
    "CONTAINER": "container",
    "IMAGE": "image",
    "SOURCE_IMAGE": "image",
    "NETWORK": "network",
    "VOLUME": "volume",
    "CONTEXT": "context",
    "SHELL": "shell",
    "NAME|ID": "object",
}
# flags whose value names something
_VALUES = {
    "network": "network",
    "volumes-from": "container",
    "link": "container",
    "context": "context",
    "restart": "restart",
    "format": "format",
    "pull": "pull",
}
_FIXED = {
    "shell": ("bash", "fish", "zsh"),
    "restart": ("always", "no", "on-failure", "unless-stopped"),
    "format": ("json", "table"),
    "pull": ("always", "missing", "never"),
}
# commands for which only some containers make sense: the filter of the list
_STATES = {
    **dict.fromkeys(("attach", "exec", "kill", "pause", "stop", "top", "stats", "port"), ("running",)),
    "start": ("created", "exited"),
    "unpause": ("paused",),
}


def answer(globals_: Sequence[Flag], load: Loader, words: list[str]) -> int:
    """Print what may stand for the last word."""
    candidates, directive = complete(globals_, load, words)
    last = words[-1] if words else ""
    for name, about in candidates:
        if name.startswith(last):
            out(f"{name}\t{about}\n" if about else f"{name}\n")
    out(f":{directive}\n")
    return 0


def complete(globals_: Sequence[Flag], load: Loader, words: list[str]) -> tuple[list[Candidate], int]:
    """Candidates for the last word, and whether files are, too."""
    *before, last = words or [""]
    flags = (*globals_, HELP)
    if (flag := _open_flag(flags, before, interspersed=False)) is not None:
        return _values(flag, Context(Options(flags)))
    try:
        options, rest = parse(globals_, before, interspersed=False)
    except FlagError:
        return [], NO_FILES
    context = Context(options)
    context.autostart = False
    if not rest:
        return (_flags(flags), NO_FILES) if last.startswith("-") else (_commands(), NO_FILES)
    found = registry.resolve(rest)
    if found is None:
        return (_members(rest[0]), NO_FILES) if len(rest) == 1 else ([], NO_FILES)
    path, _, count = found
    return _of_command(path, load(path), context, rest[count:], last)


def _of_command(
    path: str, command: Command, context: Context, before: list[str], last: str
) -> tuple[list[Candidate], int]:
    flags = (*command.flags, HELP)
    if (flag := _open_flag(flags, before, interspersed=command.interspersed)) is not None:
        return _values(flag, context)
    try:
        _, arguments = parse(command.flags, before, interspersed=command.interspersed)
    except FlagError:
        return [], FILES
    if last.startswith("-") and "--" not in before and (command.interspersed or not arguments):
        return _flags(flags), NO_FILES
    kind = _argument(command.usage, len(arguments))
    if kind is None:
        return [], FILES
    taken = set(arguments)
    states = _STATES.get(path.rpartition(" ")[2], ())
    return [each for each in _named(kind, context, states) if each[0] not in taken], NO_FILES


def _open_flag(flags: Iterable[Flag], before: list[str], *, interspersed: bool) -> Flag | None:
    """The flag whose value comes next, if it is one."""
    last = before[-1] if before else ""
    if not last.startswith("-") or "=" in last or "--" in before:
        return None
    try:
        _, rest = parse(tuple(flags)[:-1], before[:-1], interspersed=interspersed)
    except FlagError:
        return None
    if rest and not interspersed:
        return None  # it belongs to what is run
    for flag in flags:
        is_it = last == f"--{flag.name}" or (not last.startswith("--") and last[-1] == flag.short)
        if is_it and flag.kind != "bool":
            return flag
    return None


def _argument(usage: str, position: int) -> str | None:
    """What the argument at a position names, by the words of the usage line; None: nothing that we know."""
    words = [word for word in usage.split() if word not in ("[OPTIONS]", "|")]
    several = bool(words) and words[-1].rstrip("]").endswith("...")
    if position >= len(words):
        if not several:
            return None
        position = len(words) - 1
    word = words[position].strip("[]").removesuffix("...").strip("[]")
    return _KINDS.get(word) or _KINDS.get(word.partition("[")[0].partition(":")[0])


def _commands() -> list[Candidate]:
    found = {name: registry.COMMANDS[path][2] for name, path in registry.TOP.items()}
    found |= {path: entry[2] for path, entry in registry.COMMANDS.items() if " " not in path}
    return sorted({**found, **registry.GROUPS}.items())


def _members(group: str) -> list[Candidate]:
    return sorted(
        (path.partition(" ")[2], entry[2])
        for path, entry in registry.COMMANDS.items()
        if path.startswith(f"{group} ")
    )


def _flags(flags: Iterable[Flag]) -> list[Candidate]:
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    return [(f"--{flag.name}", flag.usage.partition("\n")[0]) for flag in shown]


def _values(flag: Flag, context: Context) -> tuple[list[Candidate], int]:
    context.autostart = False
    kind = _VALUES.get(flag.name)
    return (_named(kind, context, ()), NO_FILES) if kind else ([], FILES)


def _named(kind: str, context: Context, states: Sequence[str]) -> list[Candidate]:
    """All things of a kind; none if the engine does not answer."""
    from corten.client.errors import ClientError

    if kind in _FIXED:
        return [(name, "") for name in _FIXED[kind]]
    if kind == "context":
        from corten.client.contexts import ContextStore

        return [(each.name, each.description) for each in ContextStore(context.config_folder).all()]
    try:
        if kind == "object":
            return [each for one in _ASKED for each in _ASKED[one](context, ())]
        return _ASKED[kind](context, states)
    except (ClientError, ExitError, OSError):
        return []


def _containers(context: Context, states: Sequence[str]) -> list[Candidate]:
    from corten.client import jsontext

    fields: dict[str, object] = {"all": True}
    if states:
        fields["filters"] = jsontext.dumps({"status": list(states)})
    found = context.engine.get("/containers/json", **fields)
    return [(each["Names"][0][1:], each["Image"]) for each in found if each.get("Names")]


def _images(context: Context, states: Sequence[str]) -> list[Candidate]:
    found = context.engine.get("/images/json")
    tags = [tag for each in found for tag in each.get("RepoTags") or () if "<none>" not in tag]
    bare = [tag.removesuffix(":latest") for tag in tags if tag.endswith(":latest")]
    return [(tag, "") for tag in (*bare, *tags)]


def _networks(context: Context, states: Sequence[str]) -> list[Candidate]:
    return [(each["Name"], each["Driver"]) for each in context.engine.get("/networks")]


def _volumes(context: Context, states: Sequence[str]) -> list[Candidate]:
    found = context.engine.get("/volumes")["Volumes"] or ()
    return [(each["Name"], each["Driver"]) for each in found]


_ASKED = {"container": _containers, "image": _images, "network": _networks, "volume": _volumes}

# ------------------------------------------------------------ the shells' side

_BASH = r"""# bash completion for corten. Use it with: source <(corten completion bash)
_corten() {
    local line=${COMP_LINE:0:COMP_POINT} words last answer directive prefix candidate
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=${words[-1]}
    mapfile -t answer < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    ((${#answer[@]})) || return
    directive=${answer[-1]}
    unset 'answer[-1]'
    prefix=${last%"${last##*[:=]}"} # readline takes what is before these for words of their own
    for candidate in "${answer[@]}"; do
        candidate=${candidate%%$'\t'*}
        COMPREPLY+=("${candidate#"$prefix"}")
    done
    [[ $directive == :0 ]] && compopt -o default
}
complete -F _corten corten
"""

_ZSH = r"""#compdef corten
# zsh completion for corten. Use it with: source <(corten completion zsh)
_corten() {
    local -a answer candidates
    local line directive
    answer=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive=${answer[-1]}
    for line in "${(@)answer[1,-2]}"; do
        if [[ $line == *$'\t'* ]]; then
            candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        else
            candidates+=("${line//:/\\:}")
        fi
    done
    if (( ${#candidates} )); then
        _describe -t corten corten candidates
    elif [[ $directive == :0 ]]; then
        _files
    fi
}
if [[ $funcstack[1] == _corten ]]; then
    _corten
else
    compdef _corten corten
fi
"""

_FISH = r"""# fish completion for corten. Use it with: corten completion fish | source
function __corten_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] "$last" 2>/dev/null)
    set -l directive $answer[-1]
    set -e answer[-1]
    if test (count $answer) -gt 0
        printf '%s\n' $answer
    else if test "$directive" = :0
        __fish_complete_path "$last"
    end
end
complete -c corten -f -a '(__corten_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def _print_script(context: Context, options: Options, arguments: list[str]) -> int:
    if arguments[0] not in _SCRIPTS:
        raise ExitError(f"no completion for {arguments[0]}: there is bash, zsh and fish")
    out(_SCRIPTS[arguments[0]])
    return 0


COMPLETION = Command("SHELL", _print_script, least=1, most=1)

if TYPE_CHECKING:
    from collections.abc import Callable

    Loader = Callable[[str], Command]
