"""The hot commands import nothing expensive, and nothing of the engine."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
EXPENSIVE = (
    *("argparse", "asyncio", "ast", "collections", "ctypes", "dataclasses", "datetime", "enum", "functools"),
    *(
        "http",
        "inspect",
        "ipaddress",
        "json",
        "logging",
        "pathlib",
        "re",
        "select",
        "shutil",
        "signal",
        "site",
    ),
    *("socket", "ssl", "subprocess", "tarfile", "tempfile", "threading", "typing", "urllib"),
)


@pytest.mark.parametrize(
    "module",
    ["container.run", "container.list", "container.exec", "image.list", "system.version", "container.logs"],
)
def test_cheap(module):
    code = (
        f"import sys; sys.path.append({str(SOURCE)!r}); import corten.cli.main, corten.cli.{module}; "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert [m for m in loaded if m in EXPENSIVE] == []
    corten = [m for m in loaded if m.startswith("corten.")]
    assert [m for m in corten if not m.startswith(("corten.cli", "corten.client", "corten.spans"))] == []


def test_every_command_can_be_loaded_and_explains_itself():
    from corten.cli import help as texts
    from corten.cli import main, registry

    for path, (_, _, short) in registry.COMMANDS.items():
        command = main.load(path)
        text = texts.command_help(path, path, command, 80)
        assert text.startswith(f"Usage:  corten {path}")
        assert short in text
        assert all(
            len(line) <= 80 for line in text.splitlines() if "Aliases" not in line and "corten" not in line
        )
