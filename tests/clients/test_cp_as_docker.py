"""`corten cp` leaves behind, prints and answers what `docker cp` does, for every kind of source and destination."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

CORTEN = f"{sys.executable} -I -S {Path(__file__).parents[2] / 'src/corten/cli/__main__.py'}"
SCRIPT = (
    "ln -s /etc/passwd /lnk; ln -s /etc /dlnk; ln -s nowhere /broken; ln -s ../../../x /home/up;"
    "mkdir -p /d/e; echo hi >/d/e/f; ln /d/e/f /d/e/g; chmod 4711 /d/e/f; touch /done; sleep 60"
)
# Run in an empty directory beside h/ and a file g and a directory ex.
OUT = """
C cp box:/d .
C cp box:/d new
C cp box:/d new/
C cp box:/d/. new
C cp box:/d ex
C cp box:/d/. ex
C cp box:/d/e/f new
C cp box:/d/e/f new/
C cp box:/d/e/f ex
C cp box:/d g
C cp box:/d/e/f g
C cp box:/lnk .
C cp -L box:/lnk .
C cp -L box:/dlnk .
C cp -L box:/dlnk new
C cp box:/dlnk .
C cp box:/dlnk/ .
C cp -L box:/broken .
C cp box:/broken .
C cp box:/d/e/f no/such/x
C cp -q box:/d .
C cp -q=false box:/d/e .
C cp box:d new
C cp box:/d - | tar tf -
C cp box:/nosuch .
C cp nosuch:/x .
C cp box: .
C cp box:/d box:/x
C cp a b
C cp '' box:/x
C cp box:/x ''
C cp -
"""
IN = """
C cp ../h box:/root
C cp ../h box:/root/new
C cp ../h/. box:/root/new
C cp ../h/a box:/root/new
C cp ../h/a box:/root/new/
C cp ../h/la box:/root
C cp -L ../h/la box:/root/new
C cp ../h/ls box:/root
C cp -L ../h/ls box:/root/new
C cp ../h/ls/ box:/root/new
C cp ../h/a box:/dlnk/q
C cp ../h/a box:/lnk
C cp ../h/sub box:/lnk
C cp ../h/sub box:/dlnk
C cp ../h/a box:/broken
C cp ../h/sub box:/etc/group
C cp ../h/a box:/no/such/x
C cp -a ../h/a box:/root
C cp ../h/a box:/broken/
C cp ../h/a box:/home/up
tar -C ../h -cf - a sub | C cp - box:/root
tar -C ../h -cf - a sub | gzip | C cp - box:/usr
tar -C ../h -cf - a | C cp - box:/etc/passwd
tar -C ../h -cf - a | C cp - box:/nosuch
C cp ../h/nosuch box:/
C cp ../h/a nosuch:/
"""
OTHER = """
C diff box
C diff nosuch
C container diff box
C export box | tar t | sort | head -n 40
C export -o file box; stat -c %a file
C export -o /no/such/file box
C export nosuch
C commit nosuch
C commit box 'Bad Name'
C commit -c 'FROM x' box
C cp
C diff
C export
C commit
C commit a b c
"""


def run(engine: Engine, program: str, line: str, work: Path) -> tuple[object, ...]:
    env = {**os.environ, "DOCKER_HOST": engine.docker_host, "CORTEN_HOST": engine.docker_host}
    env["DOCKER_CLI_HINTS"] = "false"
    words = (
        line.replace("C ", f"{program} ", 1)
        if line.startswith("C ")
        else line.replace("| C ", f"| {program} ")
    )
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=work,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    said = "\n".join(text for text in (done.stdout + done.stderr).split("\n") if not text.startswith("time="))
    said = said.replace("docker", "corten").replace(str(work), "WORK")
    made = sorted(
        (
            str(path.relative_to(work)),
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.lstat().st_nlink if not path.is_dir() else 0,
        )
        for path in work.rglob("*")
    )
    return done.returncode, said, made


def workspace(directory: Path) -> Path:
    work = directory / "w"
    (work / "ex").mkdir(parents=True)
    (work / "g").write_text("g")
    h = directory / "h"
    (h / "sub" / "deep").mkdir(parents=True)
    for name in ("a", "sub/b", "sub/deep/c"):
        (h / name).write_text(name)
    (h / "la").symlink_to("a")
    (h / "ls").symlink_to("sub")
    os.chown(h / "a", 1234, 1235)
    (h / "a").chmod(0o640)
    return work


@pytest.fixture
def box(session: Session, engine: Engine):
    session.clean()

    def make() -> None:
        engine.run("docker", "rm", "-f", "box", check=False)
        engine.run("docker", "run", "-d", "--name", "box", "busybox", "sh", "-c", SCRIPT)
        while engine.run("docker", "exec", "box", "test", "-e", "/done", check=False).returncode:
            pass

    make()
    return make


@pytest.mark.parametrize("lines", [OUT, OTHER], ids=["from a container", "diff, export, commit"])
def test_same_as_docker(engine: Engine, box, tmp_path: Path, lines: str) -> None:
    for number, line in enumerate(lines.strip().splitlines()):
        theirs, ours = (
            run(engine, program, line, workspace(tmp_path / f"{number}-{name}"))
            for name, program in (("docker", "docker"), ("corten", CORTEN))
        )
        assert ours == theirs, line


def test_same_as_docker_into_a_container(engine: Engine, box, tmp_path: Path) -> None:
    found = {}
    for name, program in (("docker", "docker"), ("corten", CORTEN)):
        box()
        found[name] = []
        for number, line in enumerate(IN.strip().splitlines()):
            said = run(engine, program, line, workspace(tmp_path / f"in-{number}-{name}"))
            listing = engine.run(
                "docker",
                "exec",
                "box",
                "sh",
                "-c",
                "ls -lanR /root /etc /usr /tmp /home /x /nowhere | sed 's/ [A-Z][a-z][a-z] .*:.. / /'",
                check=False,
            )
            found[name].append((line, said[:2], listing.stdout))
            engine.run("docker", "exec", "box", "sh", "-c", "rm -rf /root/* /x /nowhere")
    for ours, theirs in zip(found["corten"], found["docker"], strict=True):
        assert ours == theirs
