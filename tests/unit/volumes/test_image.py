"""Volumes in image files: what is left when mounting them fails in the middle. tests/clients use real ones."""

import errno

import pytest

from corten.volumes import image


@pytest.mark.parametrize("step", ["grow_mounted", "_grow_unmounted", "_empty"])
def test_what_failed_does_not_stay_mounted(monkeypatch, tmp_path, step):
    (tmp_path / image.IMAGE).touch()
    mounted = []

    def fails(*_):
        raise OSError(errno.EIO, "broken")

    def forbidden(*_):
        raise PermissionError(errno.EPERM, "no CAP_SYS_RESOURCE")

    monkeypatch.setattr(image, "_mount", lambda path, target: mounted.append(target))
    monkeypatch.setattr(image.m, "umount2", lambda target, _: mounted.remove(target) if mounted else fails())
    monkeypatch.setattr(image, "grow_mounted", forbidden)
    monkeypatch.setattr(image, "_grow_unmounted", lambda *_: None)
    monkeypatch.setattr(image, step, fails)
    with pytest.raises(OSError, match="broken"):
        image.mount_image(str(tmp_path), 16 << 20, "/nowhere")
    assert mounted == []
