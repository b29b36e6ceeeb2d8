from pathlib import Path

from corten.snapshots.underlay import make_underlay


def test_has_what_every_container_is_mounted_on(tmp_path: Path) -> None:
    path = Path(make_underlay(str(tmp_path / "underlay")))
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*")) == [
        ".dockerenv", "dev", "etc", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys",
    ]  # fmt: skip
    assert (path / "etc/hosts").stat().st_mode & 0o777 == 0o644
    assert path.stat().st_mode & 0o777 == 0o755


def test_is_made_once_and_completed_if_cut_short(tmp_path: Path) -> None:
    path = Path(make_underlay(str(tmp_path / "underlay")))
    (path / "etc/hosts").unlink()
    inode = (path / "dev").stat().st_ino
    make_underlay(str(path))
    assert (path / "etc/hosts").is_file()
    assert (path / "dev").stat().st_ino == inode
