"""What a container does to reach, or to spoil, what lies beneath its encrypted volume."""

import os

import pytest

pytestmark = pytest.mark.skipif(
    not os.path.exists("/dev/fuse"),
    reason="this machine has no /dev/fuse, which gocryptfs needs",
)


@pytest.fixture
def volume(attacker, tmp_path):
    key = tmp_path / "key"
    key.write_text("a key that nobody guesses")
    key.chmod(0o400)
    attacker.docker("volume", "create", "-o", f"encrypt=file:{key}", "enc")
    yield "enc"
    attacker.docker("volume", "rm", "enc")


def test_a_container_cannot_see_what_is_encrypted(attacker, volume):
    image = attacker.image()
    beneath = attacker.engine.root / "volumes" / volume / "cipher"
    script = (
        f"ln -s {beneath} /v/link; ln -s ../cipher /v/up; ls -A /v/link/ /v/up/ /v/../cipher;"
        "find / -xdev -name 'gocryptfs.*'; find /v -name 'gocryptfs.*'; true"
    )
    assert "gocryptfs" not in attacker.sh(image, script, "-v", f"{volume}:/v").stdout
    assert (beneath / "gocryptfs.conf").exists()
    for path in ("../cipher", "up", "link"):
        mount = f"type=volume,src={volume},dst=/d,volume-subpath={path}"
        done = attacker.docker("run", "--rm", "--mount", mount, image, "ls", "/d", check=False)
        assert done.returncode == 125 and "gocryptfs" not in done.stdout


def test_names_that_mean_something_beneath_spoil_nothing(attacker, volume):
    image = attacker.image()
    script = (
        "cd /v; n=$(seq -s '' 150 | cut -c1-250); for f in gocryptfs.conf gocryptfs.diriv gocryptfs.longname.x"
        " .gocryptfs.reverse.conf $n; do echo x >$f; ln -s $f l.$f; mv $f m; rm -rf m; done; mkdir -p d/gocryptfs.diriv;"
        "chown 1000:1000 . d; chmod 0 .; chmod 700 .; rm -rf /v/* /v/.g*; echo kept >/v/kept"
    )
    attacker.sh(image, script, "-v", f"{volume}:/v", check=False)
    assert attacker.sh(image, "ls -A /v; cat /v/kept", "-v", f"{volume}:/v").stdout == "kept\nkept\n"
