"""What is kept of what builds have told, and what clients are told that we can do."""

from corten.buildkit import history as history_module
from corten.buildkit.bridge import SERVICE, Bridge
from corten.buildkit.capabilities import frontend_capabilities
from corten.buildkit.history import History
from corten.buildkit.progress import Progress

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
    served = Bridge(None, None).methods()
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
    assert len(progress._told) < 1000
    assert progress._told[-1].statuses[0].current == 10_000


def test_history_is_bounded_by_what_is_in_it(monkeypatch):
    monkeypatch.setattr(history_module, "_KEPT_BYTES", 100_000)
    history = History()
    for number in range(5):
        progress = Progress()
        progress.step("sha256:1", "RUN").log(1, b"x" * 40_000)
        history.begin(f"b{number}", "dockerfile.v0", {}, [])
        history.end(f"b{number}", progress, {}, None)
    assert [history.progress(f"b{number}") is not None for number in range(5)] == [False] * 3 + [True] * 2


def test_history_has_no_credentials():
    history = History()
    history.begin("b", "dockerfile.v0", {"context": "https://me:secret@host/repo.git"}, [])
    assert "secret" not in str(history._records)


def test_output_in_small_pieces_is_bounded(monkeypatch):
    monkeypatch.setattr("corten.buildkit.progress._LOG_BYTES", 1600)
    progress = Progress()
    for _ in range(1000):
        progress.step("sha256:1", "RUN").log(1, b"x")
    assert len(progress._told) == 1 + 100 + 1  # the step, its output, that it is clipped
