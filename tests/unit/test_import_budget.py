"""What starts often, or forks often, stays light: the modules that it has loaded are few and cheap.

Not timed: what is not imported costs nothing, and a list does not depend on the machine's mood.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[2] / "src"

# Each of these costs milliseconds at start and memory in every fork.
# Not here, because json, signal and socket bring them along: re and enum.
_DEAR = {
    "argparse",
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "email",
    "http.client",
    "inspect",
    "logging",
    "multiprocessing",
    "pathlib",
    "shutil",
    "ssl",
    "subprocess",
    "tempfile",
    "typing",
    "urllib.request",
}

# Entry points, and which of the dear ones each may have all the same.
_ENTRIES: dict[str, set[str]] = {
    "corten.supervisor.supervisor": set(),
    "corten.supervisor.log_writer": set(),
    "corten.supervisor.janitor": set(),
    "corten.supervisor.netd.process": set(),
    "corten.supervisor.relay.process": set(),
    "corten.task.launch": set(),
    "corten.task.join": set(),
    "corten.cli.main": set(),
}


def _loaded_by(module: str) -> set[str]:
    """Names that importing `module` adds to sys.modules in a bare interpreter."""
    program = (
        f"import sys; sys.path.insert(0, {str(_SOURCE)!r}); before = set(sys.modules); "
        f"import {module}; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", sorted(_ENTRIES))
def test_entry_point_stays_light(module: str) -> None:
    assert _loaded_by(module) & (_DEAR - _ENTRIES[module]) == set()
