"""Keys of encrypted volumes, and hosts that cannot have such volumes."""

import os
from pathlib import Path

import pytest

from corten.errors import NotSupported
from corten.volumes import encrypted
from corten.volumes.keys import KEY_MAX_BYTES, read_key
from corten.volumes.local import check_options


def key_file(folder: Path, content: bytes) -> str:
    file = folder / "key"
    file.write_bytes(content)
    file.chmod(0o400)
    return f"file:{file}"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"a key\n", b"a key"),
        (b"\xff\x00 \r", b"\xff\x00 \r"),
        (b"k" * KEY_MAX_BYTES + b"\n", b"k" * KEY_MAX_BYTES),
    ],
)
def test_a_key_is_the_line_in_its_file(tmp_path: Path, content: bytes, key: bytes) -> None:
    assert read_key("v", key_file(tmp_path, content)) == key


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"k\n\n", b"k" * (KEY_MAX_BYTES + 1)])
def test_anything_else_is_no_key(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OSError, match="a key is one line"):
        read_key("v", key_file(tmp_path, content))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 1", "has no key for corten-volume/v"),
        ("echo secret-but-no-json", "has given no credentials"),
        ('echo \'{"Secret": ""}\'', "a key is one line"),
    ],
)
def test_programs_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str) -> None:
    program = tmp_path / "docker-credential-x"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OSError, match=words) as failure:
        read_key("v", "program:x")
    assert "secret" not in str(failure.value)
    with pytest.raises(OSError, match="docker-credential-y is not installed"):
        read_key("v", "program:y")


def test_what_the_host_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"encrypt": key_file(tmp_path, b"key")}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSupported, match=r"needs gocryptfs \(package gocryptfs\)"):
        check_options("v", options)
    for name in ("gocryptfs", "fusermount"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setattr(encrypted, "_DEVICE", str(tmp_path / "nosuch"))
    with pytest.raises(NotSupported, match="needs FUSE: .*: no such file"):
        check_options("v", options)
    monkeypatch.setattr(encrypted, "_DEVICE", "/dev/null")
    check_options("v", options)
