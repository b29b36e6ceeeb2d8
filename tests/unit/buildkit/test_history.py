"""What is kept of builds that have ended."""

import asyncio
import threading
from types import SimpleNamespace

from corten.builder.config import BuilderConfig
from corten.buildkit.historyfiles import HistoryFiles
from corten.buildkit.progress import Progress
from corten.buildkit.service import BuildKit


def test_an_orderly_end_of_the_engine_waits_for_what_is_being_written(tmp_path, monkeypatch):
    may_write = threading.Event()
    save = HistoryFiles.save

    def slow(*arguments):
        may_write.wait(20)
        return save(*arguments)

    monkeypatch.setattr(HistoryFiles, "save", slow)

    async def main():
        builder = SimpleNamespace(discard=None, cache=None, cache_mounts=None, config=BuilderConfig())
        service = BuildKit(builder, SimpleNamespace(root=str(tmp_path)), worker_id="w")
        service._history.begin("r", "dockerfile.v0", {}, [])
        service._history.end("r", Progress(), {}, None, dict)
        settling = asyncio.ensure_future(service.settle())
        await asyncio.sleep(0)
        assert not settling.done()
        may_write.set()
        await settling

    asyncio.run(main())
    assert [record.ref for record in HistoryFiles(str(tmp_path)).load()] == ["r"]
