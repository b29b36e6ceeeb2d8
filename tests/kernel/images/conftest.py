import asyncio
import os

import pytest

from corten.images import ImageStore
from corten.images.import_image import import_tar
from corten.images.load import load
from corten.images.removal import Remover
from corten.images.save import read_pieces, save
from corten.images.transfer import TransferSettings
from corten.metadata import Ledger
from corten.snapshots.workers import WorkerPool


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


class Harness:
    """A store with its events, and the async parts made plain."""

    def __init__(self, root, workers, form):
        self.root = root
        self.ledger = Ledger(os.path.join(root, "meta.db"))
        self.events = []
        self.store = ImageStore(
            root,
            self.ledger,
            workers=workers,
            layer_form=form,
            on_event=lambda action, actor, attributes: self.events.append(
                (action, actor, attributes.get("name"))
            ),
        )
        self.store.use(TransferSettings(retry_delay_s=0.01))

    def load(self, data, chunk=50_000, **options):
        return self.lines(load(self.store, body(data, chunk), **options))

    def pull(self, reference, **options):
        return self.lines(self.store.pull(reference, **options))

    def push(self, reference, **options):
        return self.lines(self.store.push(reference, **options))

    def save(self, *names, platforms=()):
        return b"".join(collect(read_pieces(save(self.store, names, platforms))))

    def imported(self, data, **options):
        return asyncio.run(import_tar(self.store, body(data), **options))

    def lines(self, stream):
        return collect(stream)

    def container(self, container_id, image_id, status="exited"):
        self.ledger.execute(
            "INSERT INTO containers (id, name, image_id, created_ns, status, state, document)"
            " VALUES (?, ?, ?, 0, ?, x'', x'')",
            (container_id, container_id, image_id, status),
        )

    def remove(self, text, **options):
        return [
            i.untagged or i.deleted for i in Remover(self.store, self.store.collector).remove(text, **options)
        ]

    def check(self):
        """Ledger and disk agree, and nothing unfinished lies about."""
        rows = {r["directory"] for r in self.ledger.query("SELECT directory FROM layers")}
        assert set(os.listdir(os.path.join(self.root, "layers"))) == rows | {"empty"}
        blobs = {r["digest"] for r in self.ledger.query("SELECT digest FROM blobs")}
        assert {str(d) for d in self.store.blobs} == blobs
        left = [n for n in os.listdir(os.path.join(self.root, "tmp")) if not n.startswith("trash-")]
        assert left == []

    def close(self):
        self.ledger.close()


async def body(data, chunk=50_000):
    for i in range(0, len(data), chunk):
        yield data[i : i + chunk]


def collect(stream):
    async def run():
        return [item async for item in stream]

    return asyncio.run(run())


@pytest.fixture
def new_store(tmp_path_factory, workers):
    """new_store() -> Harness with a root of its own (or `root`); form: of its layers."""
    made = []

    def make(root=None, form="extract"):
        made.append(Harness(root or str(tmp_path_factory.mktemp("root")), workers, form))
        return made[-1]

    yield make
    for harness in made:
        harness.check()
        harness.close()


@pytest.fixture
def images(new_store):
    return new_store()
