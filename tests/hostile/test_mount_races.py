"""Symlinks that change while containers are set up: a sibling with the same volume swaps them without pause.

CVE-2021-30465, CVE-2023-25809, CVE-2024-45310, CVE-2025-31133. What shall not be touched are directories of
the host, to which the links point. Each race runs for seconds, not until it is won: the defence (the kernel
resolves every path below the root's descriptor) does not depend on chance.
"""

import os
import threading
import time
import uuid

import pytest

from imagefiles import directory, symlink

_RACE_S = 4.0


@pytest.fixture
def race(attacker, tool, tmp_path):
    """(image, volume): the volume's "flip" is a directory one moment and a link to the canary the next."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    (canary / "file").chmod(0o600)
    image = attacker.image(
        tool,
        directory("volume"),
        directory("volume/flip"),
        directory("volume/flip/file"),
        symlink("volume/link", str(canary)),
    )
    volume = f"race-{uuid.uuid4().hex}"
    swapper = attacker.create(
        image, "tool", "swap", "/volume/flip", "/volume/link", host={"Binds": [f"{volume}:/volume"]}
    )
    assert attacker.start(swapper)[0] == 204
    before = _described(canary)
    yield image, volume
    assert _described(canary) == before
    attacker.remove(swapper)


def _described(path):
    return [
        (entry.name, entry.stat().st_mode, entry.stat().st_uid, entry.stat().st_mtime_ns)
        for entry in sorted(os.scandir(path), key=lambda e: e.name)
    ] + [os.stat(path).st_mode, os.stat(path).st_mtime_ns]


def _started(attacker, image, host, **settings):
    """Start containers for the length of a race, four at a time; how many started, how many did not."""
    deadline = time.monotonic() + _RACE_S
    counts = {True: 0, False: 0}

    def go():
        while time.monotonic() < deadline:
            container = attacker.create(image, "true", host=host, **settings)
            status, text = attacker.start(container)
            assert status in (204, 400, 500), text
            counts[status == 204] += 1
            attacker.remove(container)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def test_destinations_of_mounts(attacker, race):
    image, volume = race
    binds = [
        f"{volume}:/volume",
        f"other-{volume}:/volume/flip/new/deep",
        f"other-{volume}:/volume/flip/made",
    ]
    counts = _started(attacker, image, {"Binds": binds, "Tmpfs": {"/volume/flip/tmpfs": ""}})
    assert sum(counts.values()) > 50


def test_subpaths_of_volumes(attacker, race):
    """What is made below the subpath would be made in the canary, if that were what is mounted."""
    image, volume = race
    mounts = [
        {"Type": "volume", "Source": volume, "Target": "/d", "VolumeOptions": {"Subpath": "flip"}},
        {"Type": "tmpfs", "Target": "/d/made/here"},
    ]
    counts = _started(attacker, image, {"Mounts": mounts})
    assert sum(counts.values()) > 50 and counts[True]


def test_sources_of_binds(attacker, race):
    """A bind may show the canary, as its source says so for a moment; but what it shows is read-only."""
    image, volume = race
    source = attacker.engine.root / "volumes" / volume / "_data/flip"
    write = "echo x >/d/file; touch /d/new; chmod 777 /d"
    host = {"Binds": [f"{source}:/d:ro"]}
    counts = _started(attacker, image, host, Entrypoint=["sh", "-c", write])
    assert sum(counts.values()) > 50 and counts[True]


def test_working_directories(attacker, race):
    image, volume = race
    counts = _started(attacker, image, {"Binds": [f"{volume}:/volume"]}, WorkingDir="/volume/flip/new/work")
    assert sum(counts.values()) > 50


def test_devices_and_masks(attacker, race):
    image, volume = race
    paths = ["/volume/flip/file", "/volume/flip", "/volume/flip/../flip/file"]
    device = {"PathOnHost": "/dev/zero", "PathInContainer": "/volume/flip/zero", "CgroupPermissions": "rwm"}
    host = {"Binds": [f"{volume}:/volume"], "MaskedPaths": paths, "ReadonlyPaths": paths, "Devices": [device]}
    counts = _started(attacker, image, host)
    assert sum(counts.values()) > 50


def test_entering_while_directories_are_swapped(attacker, race):
    """exec -w: wherever the link leads, it leads there inside the container's root."""
    image, volume = race
    sleeper = attacker.create(image, "sleep", "60", host={"Binds": [f"{volume}:/volume"]})
    assert attacker.start(sleeper)[0] == 204
    deadline = time.monotonic() + _RACE_S
    seen = set()
    while time.monotonic() < deadline:
        status, text = attacker.exec(sleeper, "sh", "-c", "pwd -P; ls", WorkingDir="/volume/flip")
        seen.add(text if "chdir" not in text else "refused")
    assert seen <= {"/volume/flip\nfile\n", "/volume/link\nfile\n", "refused"}


def test_an_image_volume_that_is_a_link(attacker, tmp_path):
    """CVE-2022-23648: VOLUME on a link to /etc of the host copies nothing of the host's."""
    (tmp_path / "secret").write_text("CANARY")
    image = attacker.image(
        symlink("data", str(tmp_path)), symlink("up", "../../../../../.." + str(tmp_path)),
        Volumes={"/data": {}, "/up": {}, "/data/../../.." + str(tmp_path): {}},
    )  # fmt: skip
    script = f"ls -A /data /up {tmp_path} 2>/dev/null; cat /data/secret"
    assert "secret" not in attacker.sh(image, script, check=False).stdout
