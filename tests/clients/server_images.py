"""Images with real servers under the names of the official ones: nginx:alpine, redis:7 and postgres:16.

Their programs are Debian's (nginx 1.22, redis 7.0, postgres 15); servers/Dockerfile has the rest.
"""

import sys
from pathlib import Path

from debian import SERVERS, root_of

from engine import Engine

_CORTEN = str(Path(sys.executable).with_name("corten"))
_BASE = "debian"
_NAMES = {"nginx": "nginx:alpine", "redis": "redis:7", "postgres": "postgres:16"}


def make(engine: Engine) -> None:
    """Build them on the engine."""
    engine.run("docker", "import", str(root_of(*SERVERS)), _BASE)
    for target, name in _NAMES.items():
        folder = Path(__file__).with_name("servers")
        engine.run(_CORTEN, "build", "--quiet", "--target", target, "--tag", name, str(folder))


def remove(engine: Engine) -> None:
    """Take them off the engine again."""
    engine.run("docker", "rmi", "-f", _BASE, *_NAMES.values(), check=False)
