"""A containers service on a temporary root, with a runtime that behaves but starts nothing."""

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for lifecycles.py

from corten.engine.containers.context import Context, Settings
from corten.engine.containers.disklimits import DiskLimits
from corten.engine.containers.service import ContainerService
from corten.engine.containers.spec import HostFacts
from corten.engine.containers.store import ContainerStore
from corten.engine.containers.unsupported import _NEEDS
from corten.engine.events import EventBus
from corten.engine.tasks import Background
from corten.errors import NoSuchImage, NotFound
from corten.images.image import Image
from corten.linux.capabilities import NAMES
from corten.metadata import Ledger
from corten.network.config import NetworkConfig
from corten.network.controller import Controller
from corten.oci.image import ImageConfig, ImageDocument, RootFS
from corten.plugins.discovery import PluginFolders
from corten.runtimes.protocol import Adopted, ExecStarted, Exit
from corten.volumes.plugin import VolumePlugins
from corten.volumes.store import VolumeStore

IMAGE_ID = "sha256:" + "1" * 64


class FakeRuntime:
    """Tasks in a dict. A task ends on `finish`, SIGKILL, or SIGTERM unless it is stubborn."""

    def __init__(self):
        self.running, self.ended, self.requests = {}, {}, {}
        self.paused, self.pending = set(), {}
        self.starts, self.exec_signals = {}, []
        self.fail = None
        self.quick_exit = None
        self.stubborn = set()
        self.signals = []
        self._exit = self._oom = None

    def on_exit(self, callback):
        self._exit = callback

    def on_oom(self, callback):
        self._oom = callback

    def on_reconnect(self, callback):
        pass

    def on_settled(self, callback):
        self.settled = callback

    async def tasks(self):
        return [
            Adopted(task_id=i, pid=pid, exit=None, cgroup=f"/corten/{i}", paused=i in self.paused)
            for i, pid in self.running.items()
        ] + [Adopted(task_id=i, pid=0, exit=exit) for i, exit in self.ended.items()]

    async def start(self, request):
        if self.fail is not None:
            raise self.fail
        self.requests[request.id] = request
        self.starts.setdefault(request.id, []).append(request)
        self.running[request.id] = 1000 + len(self.requests)
        if self.quick_exit is not None:
            self.finish(request.id, self.quick_exit)
        return 1000 + len(self.requests)

    def finish(self, task_id, code, *, oom=False, tell=True):
        del self.running[task_id]
        exit = Exit(task_id=task_id, exec_id=None, code=code, oom_killed=oom, at_ns=time.time_ns())
        self.ended[task_id] = exit
        if tell:
            self._exit(exit)

    async def kill(self, task_id, signal, *, exec_id=None):
        if exec_id is not None:
            self.exec_signals.append(signal)
            return
        if task_id not in self.running:
            raise NotFound(task_id)
        self.signals.append(signal)
        if signal == 9 or (signal == 15 and task_id not in self.stubborn):
            # the answer comes before the exit, as on the supervisor's socket
            asyncio.get_running_loop().call_soon(self._finish_if_running, task_id, 128 + signal)

    def _finish_if_running(self, task_id, code):
        if task_id in self.paused:
            self.pending[task_id] = code  # a frozen process dies when it is thawed
        elif task_id in self.running:
            self.finish(task_id, code)

    async def kill_all(self, task_id):
        self.finish(task_id, 137)

    async def exec(self, request):
        return ExecStarted(pid=77, stdin_fd=None, stdout_fd=None, stderr_fd=None)

    async def exec_info(self, exec_id):
        raise NotFound(exec_id)

    async def pause(self, task_id):
        self.paused.add(task_id)

    async def resume(self, task_id):
        self.paused.discard(task_id)
        if task_id in self.pending:
            self._finish_if_running(task_id, self.pending.pop(task_id))

    async def forget(self, task_id):
        self.ended.pop(task_id, None)

    async def close_stdin(self, task_id):
        pass


class FakeCgroups:
    """Remembers what was set."""

    version = "v1"

    def __init__(self):
        self.applied, self.fail, self.warnings = [], None, []

    def features(self):
        return dict.fromkeys(_NEEDS, True)

    def apply(self, path, resources):
        if self.fail is not None:
            raise self.fail
        self.applied.append((path, resources))
        return list(self.warnings)


class FakeImages:
    def __init__(self, layer):
        document = ImageDocument(rootfs=RootFS(), config=ImageConfig(cmd=["sh"], env=["IMAGE=1"]))
        self.image = Image(id=IMAGE_ID, document=document, raw_config=b"{}", layers=(), size=0)
        self.layer = layer

    def find(self, text):
        return self.image if text in ("busybox", IMAGE_ID) else None

    def resolve(self, text):
        if self.find(text) is None:
            raise NoSuchImage(text)
        return self.image

    def get(self, image_id):
        return self.image

    def lower_dirs(self, image):
        return [self.layer]


class Bin:
    def discard(self, path):
        shutil.rmtree(path, ignore_errors=True)


class FakeSeccomp:
    def default(self, capabilities):
        return b"default"

    def profile(self, document, capabilities):
        return document


class World:
    """One engine's worth of services; `restarted()` is the next engine on the same root and runtime."""

    def __init__(self, root, runtime):
        self.root, self.runtime = root, runtime
        self.ledger = Ledger(os.path.join(root, "meta.db"))
        self.ledger.execute(
            "INSERT OR IGNORE INTO images (id, config, size, created_ns) VALUES (?, x'7b7d', 0, 0)",
            (IMAGE_ID,),
        )
        self.generations = [self]
        network = Controller(self.ledger, NetworkConfig(bridge="none", firewall=False))
        directory = os.path.join(root, "containers")
        store = ContainerStore(self.ledger, directory, os.path.join(root, "run"))
        self.context = Context(
            store=store,
            disk_limits=DiskLimits(store, directory),
            runtime=runtime,
            cgroups=FakeCgroups(),
            images=FakeImages(os.path.join(root, "layer")),
            network=network,
            volumes=VolumeStore(os.path.join(root, "volumes"), self.ledger, Bin()),
            events=EventBus(),
            trash=Bin(),
            volume_plugins=VolumePlugins(PluginFolders(sockets=(), specs=()), root),
            plugins=PluginFolders(sockets=(), specs=()),
            host=HostFacts(capabilities=NAMES, seccomp=FakeSeccomp()),
            settings=Settings(),
            background=Background(),
        )
        self.containers = ContainerService(self.context, directory=directory)

    async def restarted(self):
        """As after kill -9: nothing is told to the old one any more."""
        await self.context.background.close()
        self.close()
        world = World(self.root, self.runtime)
        world.generations = self.generations
        self.generations.append(world)
        await world.containers.restore()
        return world

    def close(self):
        self.context.network.close()
        self.ledger.close()

    async def settle(self):
        """Let background work end."""
        for _ in range(5):
            await asyncio.sleep(0)
        while self.context.background._tasks:
            await asyncio.sleep(0.001)

    async def settle_once(self):
        for _ in range(5):
            await asyncio.sleep(0)

    def events(self, kind="container"):
        return [m.action for m in self.context.events._past if m.type == kind]


@pytest.fixture
def world(tmp_path):
    for name in ("containers", "layer"):
        (tmp_path / name).mkdir()
    made = World(str(tmp_path), FakeRuntime())
    made.context.network.restore()
    yield made
    for each in made.generations:
        each.close()
