"""`cortend`: the engine's process from its command line to its end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from corten.daemon import instance
from corten.daemon.config import ConfigError, DaemonConfig, load, reload
from corten.daemon.listeners import Plan, listen, plan
from corten.daemon.logs import configure_logging, set_level
from corten.daemon.remap import remapped
from corten.daemon.wiring import Engine, open_engine
from corten.errors import CortenError
from corten.linux.priority import prefer_this_thread

log = logging.getLogger(__name__)

_FAILED = 1
_SELINUX = "/sys/fs/selinux/enforce"
# Of the event loop: an answer takes it 0.1 ms, and 5 ms of waiting where containers use all processors.
_NICE = -15
# So many objects more than there were. Python's 700 are one answer's, of which 0.2 ms go into finding that
# all are in use: nearly nothing here lies in cycles.
_COLLECT_AFTER = 10_000


def main(arguments: Sequence[str] | None = None, *, program: str = "cortend") -> int:
    """Run an engine until SIGTERM or SIGINT; returns the exit code."""
    try:
        config = load(sys.argv[1:] if arguments is None else arguments, program=program)
        configure_logging(config)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(config))
    except (CortenError, OSError) as e:
        print(f"{program}: {e}", file=sys.stderr)
        return _FAILED


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's; None = asyncio's own, where there is no uvloop for this Python or machine."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


async def _run(config: DaemonConfig) -> int:
    if os.geteuid() != 0:
        raise ConfigError("the engine needs root: rootless mode is not supported yet")
    prefer_this_thread(_NICE)
    _check_selinux(config)
    config = remapped(config)
    wanted = plan(config)
    os.umask(0o022)
    _raise_nofile()
    instance.prepare_root(config.root)
    instance.prepare_exec_root(config.exec_root, wanted.gid)
    lock = instance.lock_root(config.root)
    pidfile = config.text("pidfile")
    if pidfile:
        instance.write_pidfile(pidfile)
    try:
        await _serve(config, wanted)
    finally:
        if pidfile:
            instance.remove_pidfile(pidfile)
        os.close(lock)
    return 0


def _check_selinux(config: DaemonConfig) -> None:
    """As dockerd, go on without it where the host has none. Where it has one, that would break a promise."""
    if not config.flag("selinux-enabled"):
        return
    if os.path.exists(_SELINUX):
        raise ConfigError("selinux-enabled: not supported by Corten yet")
    log.warning("could not enable SELinux on the host system")


def _raise_nofile() -> None:
    """Clients, streams and sandboxes are descriptors: take what the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: DaemonConfig, wanted: Plan) -> None:
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    engine = await open_engine(config)
    try:
        loop.add_signal_handler(signal.SIGHUP, lambda: _reload(engine))
        await listen(engine.make_server(), wanted)
        if wanted.metrics is not None:
            await engine.make_metrics_server().listen_tcp(*wanted.metrics)
        # What lives now lives long: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        _notify_systemd("READY=1")
        log.info("engine ready", extra={"root": config.root, "hosts": config.hosts})
        await stopping.wait()
    finally:
        _notify_systemd("STOPPING=1")
        log.info("engine stopping")
        await engine.close()


def _reload(engine: Engine) -> None:
    """SIGHUP."""
    try:
        config, changed = reload(engine.config)
        set_level(config)
        engine.reload(config, changed)
    except CortenError as e:
        log.error("configuration not reloaded", extra={"reason": str(e)})
    else:
        log.info("configuration reloaded", extra={"changed": changed})


def _notify_systemd(state: str) -> None:
    """sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as e:
            log.warning("systemd not notified", extra={"reason": str(e)})


if __name__ == "__main__":
    sys.exit(main())
