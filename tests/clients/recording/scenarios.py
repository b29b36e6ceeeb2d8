"""The scenarios: command lines to give to an engine, in order, as data in ../scenarios/GROUP.txt.

A file begins with what its group is about. `# NAME` starts a scenario; each line below it is run by a bash of
its own, in one directory for the scenario. $IMAGES holds the tars of images.py, $REGISTRY is the registry of
registry.py, `onpty` (onpty.py) runs a command on a terminal.
"""

from pathlib import Path

_DIRECTORY = Path(__file__).parent.parent / "scenarios"


def parse(text: str) -> dict[str, list[str]]:
    """A file's scenarios: name -> lines."""
    scenarios: dict[str, list[str]] = {}
    for block in text.split("\n# ")[1:]:
        name, *lines = block.strip().split("\n")
        scenarios[name] = lines
    return scenarios


GROUPS: dict[str, dict[str, list[str]]] = {
    group: parse((_DIRECTORY / f"{group}.txt").read_text())
    for group in ("run", "lifecycle", "flags", "images", "build", "system")
}
