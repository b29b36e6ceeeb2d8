"""What is kept of what builds have told, and what clients are told that we can do."""

import asyncio
import os
from functools import partial, wraps

import pytest

from corten.buildkit import history as history_module
from corten.buildkit.bridge import SERVICE, Bridge
from corten.buildkit.capabilities import frontend_capabilities
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.history import History
from corten.buildkit.historyfiles import HistoryFiles
from corten.buildkit.progress import Progress
from corten.buildkit.proto.control_pb2 import BuildHistoryRequest, VertexWarning, WorkerRecord
from corten.buildkit.proto.rpc_pb2 import Status as ErrorStatus
from corten.digest import digest_of
from corten.errors import InvalidParameter, NotFound
from corten.images.claims import Claim

_METHODS = {
    "solve.base": "Solve",
    "resolveimage": "ResolveImageConfig",
    "readfile": "ReadFile",
    "readdir": "ReadDir",
    "statfile": "StatFile",
    "return": "Return",
    "gateway.evaluate": "Evaluate",
    "gateway.warnings": "Warn",
    "gateway.exec": "NewContainer",
}


def test_what_is_advertised_is_served():
    served = Bridge(None, WorkerRecord()).methods()
    names = {each.id for each in frontend_capabilities()}
    assert names & _METHODS.keys()
    for name in names & _METHODS.keys():
        assert f"/{SERVICE}/{_METHODS[name]}" in served
    assert "resolveimage.resolvemode" not in names or "resolveimage" in names


def test_progress_in_many_pieces_is_told_now_and_then():
    progress = Progress()
    step = progress.step("sha256:1", "[internal] load build context")
    for number in range(10_000):
        step.status("transferring context:", current=number)
    step.status("transferring context:", current=10_000, done=True)
    assert len(progress._told.entries) < 1000
    *_, last = progress.told()
    assert last.statuses[-1].current == 10_000 and last.statuses[-1].HasField("completed")


def on_a_loop(test):
    @wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    return run


async def ended(history, ref, output=b"x", error=None, notes=None):
    progress = Progress()
    progress.step("sha256:1", "RUN").log(1, output)
    history.begin(ref, "dockerfile.v0", {}, [])
    history.end(ref, progress, {}, error, lambda: notes or {})
    await history.written(ref)


@on_a_loop
async def test_history_is_bounded_by_what_is_in_it(monkeypatch, tmp_path):
    monkeypatch.setattr(history_module, "_KEPT_BYTES", 100_000)
    history = History(HistoryFiles(str(tmp_path)))
    for number in range(5):
        await ended(history, f"b{number}", b"x" * 40_000)
    assert [history.told(f"b{number}") is not None for number in range(5)] == [False] * 3 + [True] * 2
    assert len(list((tmp_path / "builder/history").iterdir())) == 2 * 2


@on_a_loop
async def test_history_outlives_the_engine(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    for ref in ("one", "two", "../../three"):
        await ended(history, ref, ref.encode())
    history.delete("two")
    await history.pin("one", True)
    files = tmp_path / "builder" / "history"
    (files / "torn.told").write_bytes(b"\0\0")
    (files / "broken.record").write_bytes(b"\xff")
    again = History(HistoryFiles(str(tmp_path)))
    assert [(each.ref, each.pinned) for each in again._records.values()] == [
        ("one", True),
        ("../../three", False),
    ]
    told = [response async for response in again.told("../../three")]
    assert [log.data for response in told for log in response.logs] == [b"../../three"]
    assert again.told("two") is None
    assert len(list(files.iterdir())) == 2 * 2
    await ended(again, "one", b"anew")
    told = [response async for response in again.told("one")]
    assert [log.data for response in told for log in response.logs] == [b"anew"]


def claim(text):
    return Claim(predicate_type="https://slsa.dev/provenance/v0.2", predicate=lambda layers: text)


async def listed(history, ref):
    request = BuildHistoryRequest(ref=ref, early_exit=True)
    [event] = [event async for event in history.listen(request)]
    return event.record


@on_a_loop
async def test_what_records_refer_to_is_kept_with_them_and_nothing_else_can_be_had(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    await ended(history, "one", notes={"": claim(b"only")})
    await ended(history, "two", notes={"linux/amd64": claim(b"a" * 5000), "linux/arm64": claim(b"b")})
    await ended(history, "three", error=GRPCError(Status.UNKNOWN, "it has failed"))
    (tmp_path / "secret").write_bytes(b"x")
    again = History(HistoryFiles(str(tmp_path)))
    [only] = (await listed(again, "one")).result.attestations
    assert (only.media_type, only.size) == ("application/vnd.in-toto+json", 4)
    assert await again.blob(only.digest) == b"only"
    results = (await listed(again, "two")).results
    found = {name: await again.blob(info.attestations[0].digest) for name, info in results.items()}
    assert found == {"linux/amd64": b"a" * 5000, "linux/arm64": b"b"}
    failed = await listed(again, "three")
    error = ErrorStatus.FromString(await again.blob(failed.external_error.digest))
    assert error.message == failed.error.message == "it has failed"
    again.delete("one")
    for digest in (only.digest, digest_of(b"x"), "../../secret", ""):
        with pytest.raises(NotFound):
            await again.blob(digest)
    assert len(list((tmp_path / "builder/history").iterdir())) == 3 + 2


@on_a_loop
async def test_who_asks_before_a_build_is_written_down_waits_for_it(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    for ref in ("one", "two", "three"):
        history.begin(ref, "dockerfile.v0", {}, [])
        history.end(ref, Progress(), {}, None, partial(dict, {"": claim(ref.encode())}))
    [only] = (await listed(history, "one")).result.attestations
    assert await history.blob(only.digest) == b"one"
    history.begin("four", "dockerfile.v0", {}, [])
    history.end("four", Progress(), {}, None, dict)
    await history.pin("four", True)
    again = History(HistoryFiles(str(tmp_path)))
    assert (await listed(again, "four")).pinned


@on_a_loop
async def test_who_lists_is_told_what_is_asked_for_and_the_newest_first(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    for number in range(4):
        await ended(history, f"b{number}", error=GRPCError(Status.UNKNOWN, "x") if number == 2 else None)
    history.begin("running", "dockerfile.v0", {}, [])

    async def refs(**asked):
        request = BuildHistoryRequest(early_exit=True, **asked)
        return [event.record.ref async for event in history.listen(request)]

    assert await refs() == ["running", "b3", "b2", "b1", "b0"]
    assert await refs(limit=2) == ["running", "b3", "b2"]
    assert await refs(filter=["status==completed"], limit=2) == ["running", "b3", "b1"]
    assert await refs(active_only=True) == ["running"]
    assert await refs(ref="b1") == ["b1"]
    for wrong in ({"limit": -1}, {"filter": ["startedAt>soon"]}):
        with pytest.raises(InvalidParameter):
            await refs(**wrong)


@on_a_loop
async def test_who_listens_for_one_build_is_told_of_no_other(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    for ref in ("one", "other"):
        history.begin(ref, "dockerfile.v0", {}, [])
    events = history.listen(BuildHistoryRequest(ref="one"))
    assert (await anext(events)).record.ref == "one"
    for ref in ("other", "one"):
        history.end(ref, Progress(), {}, None, dict)
        await history.written(ref)
    assert (await anext(events)).record.ref == "one"
    await events.aclose()


@on_a_loop
async def test_a_record_counts_the_warnings(tmp_path):
    history, progress = History(HistoryFiles(str(tmp_path))), Progress()
    progress.warn(VertexWarning(short=b"careful"))
    history.begin("one", "dockerfile.v0", {}, [])
    history.end("one", progress, {}, None, dict)
    assert (await listed(history, "one")).warnings == 1


@on_a_loop
async def test_blobs_count_in_what_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(history_module, "_KEPT_BYTES", 100_000)
    history = History(HistoryFiles(str(tmp_path)))
    for number in range(3):
        await ended(history, f"b{number}", notes={"": claim(os.urandom(60_000))})
    assert [history.told(f"b{number}") is not None for number in range(3)] == [False, False, True]


@on_a_loop
async def test_what_is_torn_is_not_there(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    await ended(history, "one", notes={"": claim(b"only")})
    [blobs] = (tmp_path / "builder/history").glob("*.blobs")
    whole = blobs.read_bytes()
    for left in (b"", whole[:3], whole[:-1], whole[:4] + bytes(len(whole) - 4)):
        blobs.write_bytes(left)
        with pytest.raises(NotFound):
            await history.blob(digest_of(b"only"))


@on_a_loop
async def test_what_is_deleted_while_it_is_written_is_gone(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    writing = asyncio.ensure_future(ended(history, "one"))
    await asyncio.sleep(0)
    history.delete("one")
    await writing
    assert list((tmp_path / "builder/history").iterdir()) == []
    assert history.told("one") is None


@on_a_loop
async def test_what_is_deleted_while_its_trace_is_made_stays_gone(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    await ended(history, "one")
    tracing = asyncio.ensure_future(history.finalize("one"))
    await asyncio.sleep(0)
    history.delete("one")
    with pytest.raises(NotFound):
        await tracing
    assert list((tmp_path / "builder/history").iterdir()) == []


def test_history_has_no_credentials(tmp_path):
    history = History(HistoryFiles(str(tmp_path)))
    history.begin("b", "dockerfile.v0", {"context": "https://me:secret@host/repo.git"}, [])
    assert "secret" not in str(history._records)


def test_output_in_small_pieces_is_bounded(monkeypatch):
    monkeypatch.setattr("corten.buildkit.progress._LOG_BYTES", 1600)
    progress = Progress()
    for _ in range(1000):
        progress.step("sha256:1", "RUN").log(1, b"x")
    assert len(progress._told.entries) == 1 + 100 + 1  # the step, its output, that it is clipped


@on_a_loop
async def test_what_is_told_in_quick_succession_comes_at_once():
    progress = Progress()
    step = progress.step("sha256:1", "RUN")
    responses = []

    async def watch():
        async for response in progress.watch():
            responses.append(response)

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    for number in range(100):
        step.log(1, b"%d" % number)
        await asyncio.sleep(0)
    progress.end()
    await watching
    assert len(responses) < 50
    assert [entry.data for each in responses for entry in each.logs] == [b"%d" % n for n in range(100)]


@on_a_loop
async def test_of_a_step_that_begins_and_ends_in_quick_succession_only_the_end_is_told():
    progress = Progress()
    first, second = progress.step("sha256:1", "FROM"), progress.step("sha256:2", "RUN", ["sha256:1"])
    first.start()
    first.finish(cached=True)
    second.start()
    progress.end()
    [response] = [response async for response in progress.watch()]
    assert [(each.name, each.cached, each.error) for each in response.vertexes] == [
        ("FROM", True, ""),
        ("RUN", False, "context canceled"),
    ]
    assert [each.HasField("completed") for each in response.vertexes] == [True, True]
    assert response.vertexes[1].inputs == ["sha256:1"]


@on_a_loop
async def test_a_step_that_is_announced_has_not_begun():
    progress = Progress()
    progress.step("sha256:1", "RUN")
    [response] = progress.told()
    [vertex] = response.vertexes
    assert not vertex.HasField("started") and not vertex.HasField("completed")
