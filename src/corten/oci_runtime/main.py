"""The command line: runc's commands and flags, as far as podman and containerd use them."""

from __future__ import annotations

import argparse
import array
import json
import os
import signal
import socket
import sys
import tempfile
import time

import corten
from corten.linux import capabilities, cgroups, mounts, pidfd, process
from corten.linux.namespaces import TYPES
from corten.oci_runtime import bundle, container, create
from corten.oci_runtime.container import Container
from corten.oci_runtime.errors import RuntimeFailure
from corten.task import mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _create(args: argparse.Namespace) -> int:
    made = _make(args, args.console_socket)
    _write_pid_file(args.pid_file, made.pid)
    return 0


def _make(args: argparse.Namespace, console_socket: str) -> Container:
    container.check_id(args.id)
    folder = os.path.realpath(args.bundle)
    spec = bundle.read(folder)
    return create.create(
        args.root, args.id, folder, spec, console_socket=console_socket, keep_fds=args.preserve_fds
    )


def _run(args: argparse.Namespace) -> int:
    """create, start and, unless detached, wait and delete."""
    if args.detach:
        made = _make(args, args.console_socket)
        _write_pid_file(args.pid_file, made.pid)
        create.start(made)
        return 0
    terminal = bundle.read(os.path.realpath(args.bundle))["process"].get("terminal")
    made, master = _make_with_master(args) if terminal else (_make(args, ""), -1)
    _write_pid_file(args.pid_file, made.pid)
    try:
        create.start(made)
        code = _wait_in_foreground(made.pid, master)
    finally:
        _delete_container(made, force=True)
    return code


def _make_with_master(args: argparse.Namespace) -> tuple[Container, int]:
    with tempfile.TemporaryDirectory(prefix="corten-oci-") as folder:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"{folder}/console.sock")
        listener.listen(1)
        made = _make(args, f"{folder}/console.sock")
        connection, _ = listener.accept()
        _, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
        listener.close()
        connection.close()
        return made, array.array("i", ancillary[0][2])[0]


def _wait_in_foreground(pid: int, master: int) -> int:
    for number in (
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGQUIT,
    ):
        signal.signal(number, lambda n, _: os.kill(pid, n))
    if master >= 0:
        from corten.oci_runtime.console import relay  # for those who sit at a terminal

        relay(master)
    return process.exit_code(os.waitpid(pid, 0)[1])


def _start(args: argparse.Namespace) -> int:
    create.start(container.load(args.root, args.id))
    return 0


def _state(args: argparse.Namespace) -> int:
    print(json.dumps(container.load(args.root, args.id).state(), indent=2))
    return 0


def _kill(args: argparse.Namespace) -> int:
    target = container.load(args.root, args.id)
    number = signal_number(args.signal)
    if args.all:
        for pid in cgroups.manager().pids(target.cgroup):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return 0
    fd = target.open_process()
    if fd is None:
        raise RuntimeFailure("container not running")
    pidfd.send_signal(fd, number)
    os.close(fd)
    return 0


def signal_number(text: str) -> int:
    """`9`, `KILL` or `SIGKILL` -> number. Raises RuntimeFailure."""
    if text.isdigit() and 0 < int(text) <= 64:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise RuntimeFailure(f"unknown signal {text!r}") from None


def _delete(args: argparse.Namespace) -> int:
    try:
        target = container.load(args.root, args.id)
    except RuntimeFailure:
        if args.force:
            return 0
        raise
    _delete_container(target, force=args.force)
    return 0


def _delete_container(target: Container, *, force: bool) -> None:
    status = target.status()
    if status not in ("stopped", "created", "creating") and not force:
        raise RuntimeFailure(f"cannot delete container {target.id} that is not stopped: {status}")
    fd = target.open_process()
    if fd is not None:
        pidfd.send_signal(fd, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not pidfd.has_ended(fd) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.close(fd)
    for attempt in range(200):
        try:
            target.remove()
            break
        except OSError:
            if attempt == 199:
                raise
            time.sleep(0.01)
    create.run_hooks_leniently(target, "poststop")


def _exec(args: argparse.Namespace) -> int:
    target = container.load(args.root, args.id)
    document = _exec_process(args, target)
    pid, master = create.run_exec(
        target, document, console_socket=args.console_socket, keep_fds=args.preserve_fds
    )
    _write_pid_file(args.pid_file, pid)
    if args.detach:
        return 0
    return _wait_in_foreground(pid, master)


def _exec_process(args: argparse.Namespace, target: Container) -> dict[str, Any]:
    if args.process:
        with open(args.process, "rb") as f:
            document: dict[str, Any] = json.load(f)
        return document
    document = dict(target.spec["process"])
    if not args.args:
        raise RuntimeFailure("process args cannot be empty")
    document["args"] = args.args
    document["terminal"] = args.tty
    document["env"] = [*(document.get("env") or []), *args.env]
    if args.cwd:
        document["cwd"] = args.cwd
    if args.user:
        uid, _, gid = args.user.partition(":")
        document["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    if args.no_new_privs:
        document["noNewPrivileges"] = True
    if args.cap:
        held = document.get("capabilities") or {}
        sets = ("bounding", "effective", "permitted")
        document["capabilities"] = {**held, **{s: [*(held.get(s) or []), *args.cap] for s in sets}}
    return document


def _list(args: argparse.Namespace) -> int:
    states = [c.state() for c in container.load_all(args.root)]
    if args.quiet:
        for state in states:
            print(state["id"])
    elif args.format == "json":
        print(json.dumps(states))
    else:
        print(f"{'ID':<12} {'PID':<8} {'STATUS':<10} {'BUNDLE':<24} CREATED")
        for s in states:
            print(f"{s['id']:<12} {s['pid']:<8} {s['status']:<10} {s['bundle']:<24} {s['created']}")
    return 0


def _pause(args: argparse.Namespace) -> int:
    cgroups.manager().freeze(container.load(args.root, args.id).cgroup)
    return 0


def _resume(args: argparse.Namespace) -> int:
    cgroups.manager().thaw(container.load(args.root, args.id).cgroup)
    return 0


def _ps(args: argparse.Namespace) -> int:
    pids = cgroups.manager().pids(container.load(args.root, args.id).cgroup)
    if args.format == "json":
        print(json.dumps(pids))
    else:
        os.execvp("ps", ["ps", "-o", "user,pid,ppid,time,args", "-p", ",".join(map(str, pids)) or "0"])
    return 0


def _update(args: argparse.Namespace) -> int:
    text = sys.stdin.read() if args.resources == "-" else _read(args.resources)
    cgroups.manager().apply(container.load(args.root, args.id).cgroup, json.loads(text))
    return 0


def _read(path: str) -> str:
    with open(path) as f:
        return f.read()


def _features(args: argparse.Namespace) -> int:
    """runtime-spec features.md."""
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": container.OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": sorted(mount_options.WORDS),
        "linux": {
            "namespaces": sorted(TYPES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": False,
            },
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"org.corten.version": corten.__version__},
    }
    print(json.dumps(document, indent=2))
    return 0


def _write_pid_file(path: str, pid: int) -> None:
    if not path:
        return
    fresh = os.path.join(os.path.dirname(path) or ".", f".{os.path.basename(path)}")
    with open(fresh, "w") as f:
        f.write(str(pid))
    os.rename(fresh, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corten-oci", description="OCI runtime of the Corten engine")
    parser.add_argument("--version", "-v", action="store_true")
    parser.add_argument("--root", default="/run/corten-oci")
    parser.add_argument("--log", default="")
    parser.add_argument("--log-format", default="text", choices=("text", "json"))
    parser.add_argument("--log-level", default="")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--systemd-cgroup", action="store_true")
    parser.add_argument("--cgroup-manager", default="cgroupfs")
    parser.add_argument("--rootless", default="auto")
    commands = parser.add_subparsers(dest="command")
    for name in ("create", "run"):
        command = commands.add_parser(name)
        command.set_defaults(handler=_create if name == "create" else _run)
        command.add_argument("--bundle", "-b", default=".")
        command.add_argument("--console-socket", default="")
        command.add_argument("--pid-file", default="")
        command.add_argument("--preserve-fds", type=int, default=0)
        command.add_argument("--no-pivot", action="store_true")
        command.add_argument("--no-new-keyring", action="store_true")
        if name == "run":
            command.add_argument("--detach", "-d", action="store_true")
        command.add_argument("id")
    for name, handler in (("start", _start), ("state", _state), ("pause", _pause), ("resume", _resume)):
        command = commands.add_parser(name)
        command.set_defaults(handler=handler)
        command.add_argument("id")
    command = commands.add_parser("kill")
    command.set_defaults(handler=_kill)
    command.add_argument("--all", "-a", action="store_true")
    command.add_argument("id")
    command.add_argument("signal", nargs="?", default="SIGTERM")
    command = commands.add_parser("delete")
    command.set_defaults(handler=_delete)
    command.add_argument("--force", "-f", action="store_true")
    command.add_argument("id")
    _add_exec(commands.add_parser("exec"))
    command = commands.add_parser("list")
    command.set_defaults(handler=_list)
    command.add_argument("--format", "-f", default="table", choices=("table", "json"))
    command.add_argument("--quiet", "-q", action="store_true")
    command = commands.add_parser("ps")
    command.set_defaults(handler=_ps)
    command.add_argument("--format", "-f", default="table", choices=("table", "json"))
    command.add_argument("id")
    command = commands.add_parser("update")
    command.set_defaults(handler=_update)
    command.add_argument("--resources", "-r", required=True)
    command.add_argument("id")
    commands.add_parser("features").set_defaults(handler=_features)
    return parser


def _add_exec(command: argparse.ArgumentParser) -> None:
    command.set_defaults(handler=_exec)
    command.add_argument("--process", "-p", default="")
    command.add_argument("--detach", "-d", action="store_true")
    command.add_argument("--console-socket", default="")
    command.add_argument("--pid-file", default="")
    command.add_argument("--tty", "-t", action="store_true")
    command.add_argument("--cwd", default="")
    command.add_argument("--env", "-e", action="append", default=[])
    command.add_argument("--user", "-u", default="")
    command.add_argument("--cap", "-c", action="append", default=[])
    command.add_argument("--no-new-privs", action="store_true")
    command.add_argument("--preserve-fds", type=int, default=0)
    command.add_argument("id")
    command.add_argument("args", nargs=argparse.REMAINDER)


def _version_text() -> str:
    return f"corten-oci version {corten.__version__}\nspec: {container.OCI_VERSION}"


def _log_error(args: argparse.Namespace, message: str) -> None:
    """Callers read the reason from --log (containerd and podman as JSON lines)."""
    if not args.log:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if args.log_format == "json":
        line = json.dumps({"level": "error", "msg": message, "time": now})
    else:
        line = f'time="{now}" level=error msg={json.dumps(message)}'
    with open(args.log, "a") as f:
        f.write(line + "\n")


def _run_from_readonly_interpreter() -> None:
    """Start again from behind a read-only mount, unless that has been done.

    A container's init is our interpreter until it calls execve, and a container that execs /proc/self/exe
    runs it: neither may be a way to write to the host's file (CVE-2019-5736).
    """
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    try:
        interpreter = mounts.open_readonly(os.readlink("/proc/self/exe"))
    except PermissionError:
        return  # without root the file is not ours to write to, either
    os.execve(f"/proc/self/fd/{interpreter}", [sys.executable, *sys.orig_argv[1:]], os.environ)


def main() -> None:
    """Entry point: exits 0, 1 on failure, or with the container's code for run and exec."""
    parser = _parser()
    args = parser.parse_args()
    if args.version:
        print(_version_text())
        sys.exit(0)
    if not args.command:
        parser.error("a command is needed")
    try:
        if args.systemd_cgroup or args.cgroup_manager == "systemd":
            raise RuntimeFailure("the systemd cgroup manager is not supported by Corten: use cgroupfs")
        if getattr(args, "no_pivot", False):
            raise RuntimeFailure("--no-pivot is not supported by Corten")
        if args.handler in (_create, _run, _exec):
            _run_from_readonly_interpreter()
        sys.exit(args.handler(args))
    except (RuntimeFailure, OSError) as e:
        _log_error(args, str(e))
        print(f"corten-oci: {e}", file=sys.stderr)
        sys.exit(1)
