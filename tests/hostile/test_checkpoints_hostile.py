"""Checkpoints that somebody else has written: --checkpoint-dir may be any directory."""

import json
import os
from types import SimpleNamespace

import pytest

from corten.engine.containers import checkpoints
from corten.errors import InvalidParameter

_CONTAINER = SimpleNamespace(
    name="web",
    directory="/nowhere",
    record=SimpleNamespace(
        config=SimpleNamespace(tty=False),
        host_config=SimpleNamespace(pid_mode="", ipc_mode=""),
        id_maps=None,
    ),
)
_DOCUMENT = {
    "program": "/evil", "images": "/evil", "stdio": ["a", "b", "c"], "externals": [],
    "flags": ["--action-script", "/evil"],
}  # fmt: skip


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Load a checkpoint with this document (None: a FIFO in its place)."""
    monkeypatch.setattr(checkpoints, "_program", lambda what: "/usr/sbin/criu")
    (tmp_path / "one").mkdir()

    def load(text):
        path = tmp_path / "one" / "corten.json"
        if text is None:
            os.mkfifo(path)
        else:
            path.write_text(text)
        return checkpoints.load(_CONTAINER, "one", str(tmp_path))

    return load


def test_it_does_not_say_what_is_run(foreign, tmp_path):
    restore = foreign(json.dumps(_DOCUMENT))
    assert "evil" not in str(restore)
    assert (restore.program, restore.images) == ("/usr/sbin/criu", str(tmp_path / "one"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"stdio": 1}', json.dumps(_DOCUMENT | {"stdio": ["a"] * 4}), None]
)
def test_what_is_no_document_is_refused(foreign, text):
    with pytest.raises(InvalidParameter, match="invalid checkpoint"):
        foreign(text)
