"""What an engine occupies: processes, descriptors, mounts, namespaces, links, rules, cgroups, rows, files.

Taken before and after a lot of work: whatever there is more of has been left behind.
"""

import os
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

from engine import Engine

Census = Counter[str]

_OURS = ("cortend", "corten-super", "corten-janitor", "corten-logs", "corten-netd", "corten-relay")
_SETTLE_POLL_S = 0.25


def take(engine: Engine) -> Census:
    """Count everything, seen from outside the sandbox."""
    found: Census = Counter()
    namespaces: set[str] = set()
    proc = Path(f"/proc/{engine.sandbox.pid}/root/proc")
    for entry in os.listdir(proc):
        if entry.isdigit():
            _count_process(proc / entry, found, namespaces)
    for name in namespaces:
        found[f"namespaces {name.partition(':')[0]}"] += 1
    links = subprocess.run(
        engine.sandbox.command("ip", "-o", "link"), capture_output=True, text=True, check=True
    )
    found["links"] = links.stdout.count("\n")
    rules = subprocess.run(engine.sandbox.command("nft", "list", "ruleset"), capture_output=True, text=True)
    found["nft lines"] = rules.stdout.count("\n")
    for top in Path("/sys/fs/cgroup").glob(f"*/{engine.cgroup}"):
        found["cgroups"] += sum(1 for _ in os.walk(top))
    for name, top in (("root", engine.root), ("exec root", engine.exec_root)):
        found[f"files {name}"] = sum(len(dirs) + len(files) for _, dirs, files in os.walk(top))
    with sqlite3.connect(f"file:{engine.root}/meta.db?mode=ro", uri=True) as ledger:
        for (table,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found[f"rows {table}"] = ledger.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
    return +found


def _count_process(process: Path, found: Census, namespaces: set[str]) -> None:
    try:
        name = (process / "comm").read_text().strip()
        descriptors = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        mine = [os.readlink(process / "ns" / kind) for kind in ("net", "mnt", "ipc", "uts", "pid", "cgroup")]
        mounts = len((process / "mountinfo").read_text().splitlines())
    except OSError:
        return  # gone while we looked
    namespaces.update(mine)
    namespaces.update(target for target in descriptors if target.startswith(("net:[", "mnt:[")))
    found[f"processes {name}"] += 1
    if name in _OURS:
        for target in descriptors:
            if target.endswith("/meta.db"):
                continue  # one more is opened by the first checkpoint, whenever that is due
            found[f"descriptors {name} {_kind(target)}"] += 1
        found[f"mounts {name}"] += mounts


def _kind(target: str) -> str:
    """What a descriptor refers to: socket, pipe, anon_inode, a path."""
    return target if target.startswith("/") else target.partition(":")[0]


def left_behind(before: Census, after: Census) -> dict[str, tuple[int, int]]:
    """What there is more of: name -> (before, after)."""
    return {name: (before[name], after[name]) for name in sorted(after - before)}


def settled(engine: Engine, before: Census, timeout_s: float) -> dict[str, tuple[int, int]]:
    """What is left once pools are full again and what goes later has gone; {} if nothing is."""
    deadline = time.monotonic() + timeout_s
    while (left := left_behind(before, take(engine))) and time.monotonic() < deadline:
        time.sleep(_SETTLE_POLL_S)
    return left


def quiet(engine: Engine, timeout_s: float) -> Census:
    """A census that is the same twice in a row: nothing is on its way."""
    deadline = time.monotonic() + timeout_s
    last = take(engine)
    while time.monotonic() < deadline:
        time.sleep(2 * _SETTLE_POLL_S)
        now = take(engine)
        if now == last:
            return now
        last = now
    raise TimeoutError(f"the engine does not come to rest: {take(engine) - last}")


def resident_kb(pid: int) -> int:
    """Memory of a process in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def verdict(result: dict[str, object]) -> int:
    """Print what a run that kills things came to; the exit code, 1 if anything is wrong, found or left."""
    for name, value in result.items():
        print(f"{name:10} {value}")
    bad = any(result.get(name) for name in ("wrong", "found", "left"))
    print("chaos: something is wrong" if bad else "chaos: all as it should be")
    return int(bad)
