"""A container's init, from clone3(2) to execve(2).

Runs in the child, in its new namespaces but still with the host's files around it. The parent waits at
the other end of the status channel; whatever goes wrong here is told there and nowhere else.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import sys

from corten.linux import loopback
from corten.linux import mounts as m
from corten.linux import namespaces as ns
from corten.linux.openat2 import open_in_root
from corten.linux.process import close_all_but, default_signals, unblock_signals
from corten.linux.syscalls import PR_SET_DUMPABLE, prctl
from corten.task import credentials, prepared, program, rootfs, terminal
from corten.task.channel import SetupError, hear, is_abandoned, tell, tell_error, wait_for_go
from corten.task.hooks import run_all
from corten.task.operations.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from corten.task.operations import Operation
    from corten.task.setup import TaskSetup

_PASSWD_MAX = 1 << 20

# What CPython ignores at start and a program must not inherit (signal(7): SIG_IGN survives execve).
_RESET_SIGNALS = tuple(
    int(number)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGCHLD,
    )
)


def run(setup: TaskSetup, sock: socket.socket) -> NoReturn:
    """The child's whole life in Python: never returns."""
    try:
        forget_importing()
        _prepare(setup, sock)
        if setup.gate is not None:
            sock = _wait_at_gate(setup, sock)
        program.become(*_finish(setup, sock))
    except SetupError as e:
        tell_error(sock, e)
    except BaseException as e:
        tell_error(sock, SetupError(5, "internal", f"{type(e).__name__}: {e}"))
    finally:
        os._exit(1)
    sys.exit(1)  # unreachable; for the type checker


def enter(setup: TaskSetup, sock: socket.socket) -> program.Program:
    """All of `run` but its end; returns the program to become. Raises SetupError, OSError.

    For a child that leaves our memory as it was: what it opens or closes it does by number, or it does both.
    """
    _prepare(setup, sock)
    return _finish(setup, sock)


def _finish(setup: TaskSetup, sock: socket.socket) -> program.Program:
    if setup.held and not wait_for_go(sock):
        os._exit(1)
    process = setup.spec["process"]
    return finish(process, sock, setup.seccomp, setup.seccomp_flags, setup.nofile, setup.keep_fds)


def forget_importing() -> None:
    """No module is imported any more: soon Python's directories are the container's (CVE-2019-14271)."""
    sys.meta_path.clear()


def step(what: str, action: Callable[[], object]) -> None:
    """Do `action`; an OSError becomes a SetupError that says what was being done."""
    try:
        action()
    except OSError as e:
        raise SetupError.of(e, what) from None


def apply_all(plan: list[Operation], root: Root) -> None:
    """Apply operations in order; the failing one names itself."""
    for operation in plan:
        try:
            operation.apply(root)
        except OSError as e:
            raise SetupError.of(e, operation.describe()) from None


def become_root() -> None:
    """Take uid and gid 0 of the user namespace we have come to."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def reset_signals() -> None:
    """Default dispositions and an empty mask, as a program expects them."""
    default_signals(_RESET_SIGNALS)
    unblock_signals()


def _prepare(setup: TaskSetup, sock: socket.socket) -> None:
    spec = setup.spec
    process: dict[str, Any] = spec["process"]
    linux: dict[str, Any] = spec.get("linux") or {}
    os.setsid()
    reset_signals()
    os.umask(0)
    _enter_userns_or_cgroup(setup, sock)
    if not setup.keep_fds:
        # Of other containers' pipes and terminals: while we have them, their readers see no end of file.
        gate = setup.gate.fileno() if setup.gate else -1
        preparing = setup.preparing.fileno() if setup.preparing else -1
        close_all_but(sock.fileno(), *(setup.stdio or ()), gate, preparing, *setup.idmaps.values())
    if any(n["type"] == "cgroup" and not n.get("path") for n in linux.get("namespaces") or ()):
        step("new cgroup namespace", lambda: ns.unshare(ns.CLONE_NEWCGROUP))
    step("set labels", lambda: credentials.set_labels(process))
    if setup.preparing is None:  # else it came with us through the door
        credentials.write_oom_score_adj(process)
    credentials.check_supported(process)

    if is_abandoned(sock):  # whoever is started in our stead has the same overlay to mount
        os._exit(1)
    root = Root()
    _build_root(setup, root)
    if setup.hooks:
        _ask_for_hooks(setup, sock)
    if process.get("terminal"):
        step("open terminal", lambda: terminal.set_up(process, sock, root.fd, root.file("/dev/console")))
    elif setup.stdio is not None:
        for number, fd in enumerate(setup.stdio):
            os.dup2(fd, number)
        uid = (process.get("user") or {}).get("uid", 0)
        if uid and setup.preparing is None:
            step("give stdio to its user", lambda: credentials.own_stdio(range(3), uid))
    apply_all(rootfs.protection_operations(spec), root)
    cwd = process.get("cwd") or "/"
    step(f"make working directory {cwd}", lambda: os.close(root.directory(cwd)))
    apply_all(rootfs.final_operations(spec), root)
    _name_host(spec, setup.new_flags)
    if setup.new_flags & ns.CLONE_NEWNET:
        step("bring up loopback", loopback.up)


def _wait_at_gate(setup: TaskSetup, sock: socket.socket) -> socket.socket:
    """Tell that all is ready, and wait until somebody connects; that connection hears of the rest.

    A program that is not there is better reported now, by "create", than later by "start".
    """
    process = setup.spec["process"]
    env = program.environment(process.get("env") or [])
    program.find((process.get("args") or [""])[0], os.fsdecode(env.get(b"PATH", b"")))
    assert setup.gate is not None
    tell(sock, {"ready": 1})
    connection, _ = setup.gate.accept()
    sock.close()
    setup.gate.close()
    hooks = (setup.spec.get("hooks") or {}).get("startContainer") or []
    if hooks:
        step("run startContainer hooks", lambda: run_all(hooks, setup.state))
    return connection


def _enter_userns_or_cgroup(setup: TaskSetup, sock: socket.socket) -> None:
    # Until execve makes us dumpable again no process of a shared pid namespace may ptrace us, open our fds or
    # see the host's root, which we have yet; nor may the root of our own user namespace.
    prctl(PR_SET_DUMPABLE, 0)
    if setup.preparing is not None:
        # Only the parent may move us to our cgroup.
        tell(sock, {"cgroup": 1})
        if hear(sock)[0] is None:
            os._exit(1)
        return
    if setup.cgroups is not None:
        cgroups, path = setup.cgroups, setup.cgroup_path
        step("join cgroup", lambda: cgroups.join_self(path))


def _ask_for_hooks(setup: TaskSetup, sock: socket.socket) -> None:
    """prestart and createRuntime hooks are the launcher's to run, createContainer hooks ours."""
    tell(sock, {"hooks": 1})
    if hear(sock)[0] is None:
        os._exit(1)
    hooks = (setup.spec.get("hooks") or {}).get("createContainer") or []
    step("run createContainer hooks", lambda: run_all(hooks, setup.state))


def _build_root(setup: TaskSetup, root: Root) -> None:
    spec = setup.spec
    hierarchies = setup.cgroups.hierarchies() if setup.cgroups is not None else []
    made = prepared.receive(setup.preparing) if setup.preparing is not None else None
    try:
        mounts, binds = rootfs.mount_operations(spec, hierarchies, made, setup.idmaps)
    except OSError as e:
        raise SetupError.of(e, "mount options") from None
    for bind in binds:
        step(bind.describe(), bind.prepare)
    step("cut mount propagation", lambda: m.mount(None, "/", None, m.MS_REC | m.MS_SLAVE))
    step("take the host's /dev/null", root.take_null)
    apply_all([rootfs.root_operation(spec, setup.overlay, setup.mountpoint, made)], root)
    apply_all(mounts, root)
    apply_all(rootfs.device_operations(spec, made), root)


def _name_host(spec: dict[str, Any], new_flags: int) -> None:
    if not new_flags & ns.CLONE_NEWUTS:
        return
    hostname, domainname = spec.get("hostname"), spec.get("domainname")
    if hostname:
        step("set host name", lambda: ns.sethostname(hostname))
    if domainname:
        step("set domain name", lambda: ns.setdomainname(domainname))


def finish(
    process: dict[str, Any],
    sock: socket.socket,
    seccomp_program: bytes | None,
    seccomp_flags: int,
    nofile: tuple[int, int] | None,
    keep_fds: int,
) -> program.Program:
    """The last part, common to a task's init and to exec: rights, working directory; returns the program.

    Every descriptor that is not for the program is closed first. Close-on-exec would be too late: the
    program may be named /proc/self/fd/N/../.. (or its interpreter, or where a link in PATH leads), and
    execve(2) resolves that while all are still open (CVE-2024-21626).
    """
    kept = range(3, 3 + keep_fds)
    close_all_but(sock.fileno(), *kept)
    if nofile is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
    step("set credentials", lambda: credentials.apply(process, seccomp_program, seccomp_flags))
    change_directory(process.get("cwd") or "/")
    args: list[str] = process.get("args") or []
    if not args:
        raise SetupError(22, "exec", "no command specified")
    env = program.environment(process.get("env") or [])
    if b"HOME" not in env:
        env[b"HOME"] = home_directory((process.get("user") or {}).get("uid", 0))
    return program.find(args[0], os.fsdecode(env.get(b"PATH", b""))), args, env


def change_directory(cwd: str) -> None:
    """chdir, but through no magic link: a directory of /proc/self/fd/N would lead out (CVE-2024-21626)."""
    try:
        root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        cwd_fd = open_in_root(root_fd, cwd, os.O_PATH | os.O_DIRECTORY)
        os.fchdir(cwd_fd)
    except OSError as e:
        stage = f"chdir to cwd ({json.dumps(cwd, ensure_ascii=False)}) set in config.json failed"
        raise SetupError.of(OSError(e.errno, e.strerror), stage) from None
    os.close(cwd_fd)
    os.close(root_fd)


def home_directory(uid: int) -> bytes:
    """HOME from the container's /etc/passwd as the process itself sees it, "/" if it is not told.

    Bounded: an image may ship a passwd file of any size (CVE-2022-31030 and its kin), or a FIFO.
    """
    for line in _read_passwd().split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            return fields[5] or b"/"
    return b"/"


def _read_passwd() -> bytes:
    try:
        root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        fd = open_in_root(root_fd, "/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.close(root_fd)
        with open(fd, "rb") as f:
            return f.read(_PASSWD_MAX) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""


def compile_seccomp(spec: dict[str, Any]) -> tuple[bytes | None, int]:
    """(program, flags) for linux.seccomp of a document; (None, 0) if it has none."""
    profile = (spec.get("linux") or {}).get("seccomp")
    if not profile:
        return None, 0
    from corten.linux.seccomp import compiler  # the supervisor is given programs and never needs it

    return compiler.compile_filter(profile), compiler.flags_of(profile)
