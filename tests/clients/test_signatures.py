"""corten image sign and verify, the policy, and cosign on both sides."""

import json
import os
import sys
from pathlib import Path

import pytest
from plugins import PLUGINS
from test_registry import CORTEN_REGISTRY, free_port

from imagefiles import Sample, docker_archive

pytestmark = pytest.mark.root

CORTEN = str(Path(sys.executable).with_name("corten"))
COSIGN = PLUGINS / "cosign" / "cosign"
SAMPLE = Sample()


class Site:
    """An engine and a registry beside it; `name` is an image that is in both."""

    def __init__(self, engine, tmp_path):
        self.engine = engine
        self.directory = tmp_path
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        self.name = f"{self.host}/team/app:v1"
        self.server = engine.popen(
            CORTEN_REGISTRY, "--listen", self.host, "--root", str(tmp_path / "registry")
        )
        assert "serving" in self.server.stdout.readline()
        archive = tmp_path / "image.tar"
        archive.write_bytes(docker_archive((SAMPLE.config, SAMPLE.layers, [self.name])))
        engine.run("docker", "load", "-i", str(archive))
        engine.run("docker", "push", self.name)

    def corten(self, *arguments, check=True):
        return self.engine.run("env", "COSIGN_PASSWORD=secret", CORTEN, *arguments, check=check)

    def close(self):
        self.server.terminate()
        self.server.wait(timeout=20)
        self.server.stdout.close()


@pytest.fixture
def site(new_engine, tmp_path):
    made = Site(new_engine(), tmp_path)
    yield made
    made.close()


def keys(site, name="key"):
    prefix = str(site.directory / name)
    site.corten("image", "keypair", prefix)
    return f"{prefix}.key", f"{prefix}.pub"


def test_signing_and_verifying(site):
    private, public = keys(site)
    assert oct(os.stat(private).st_mode & 0o777) == "0o600"
    done = site.corten("image", "verify", "--key", public, site.name, check=False)
    assert (done.returncode, "no valid signature" in done.stderr) == (1, True)
    assert (
        f"Signed {site.host}/team/app@sha256:"
        in site.corten("image", "sign", "--key", private, site.name).stdout
    )
    assert "1 valid signature" in site.corten("image", "verify", "--key", public, site.name).stdout
    site.corten("image", "sign", "--key", private, site.name)
    assert "2 valid signatures" in site.corten("image", "verify", "--key", public, site.name).stdout
    _, other = keys(site, "other")
    assert site.corten("image", "verify", "--key", other, site.name, check=False).returncode == 1


def test_a_copy_takes_its_signatures_along_if_told_so(site):
    private, public = keys(site)
    site.corten("image", "sign", "--key", private, site.name)
    there = f"{site.host}/other/app"
    site.corten("image", "cp", f"docker://{site.name}", f"docker://{there}:bare")
    assert site.corten("image", "verify", "--key", public, f"{there}:bare", check=False).returncode == 1
    site.corten("image", "cp", "--referrers", f"docker://{site.name}", f"docker://{there}:v2")
    assert "1 valid signature" in site.corten("image", "verify", "--key", public, f"{there}:v2").stdout
    refused = site.corten("image", "cp", "--referrers", site.name, f"docker://{there}:v3", check=False)
    assert refused.stderr == "--referrers copies from one registry to another only\n"


def test_a_policy_decides_about_pull_and_run(site):
    private, public = keys(site)
    engine = site.engine
    document = json.loads(engine.config_file.read_text())
    document["signature-policy"] = {f"{site.host}/team": {"keys": [public]}}
    engine.config_file.write_text(json.dumps(document))
    engine.stop()
    engine.start()
    words = "which the signature policy requires"
    create = ("docker", "create", site.name, "/x")
    assert words.split()[-1] in engine.run(*create, check=False).stderr  # loaded, never verified
    assert words in engine.run("docker", "pull", site.name, check=False).stderr
    site.corten("image", "sign", "--key", private, site.name)
    engine.run("docker", "pull", site.name)
    engine.run(*create)
    engine.run("docker", "tag", site.name, "elsewhere:1")
    engine.run("docker", "create", "elsewhere:1", "/x")
    document["signature-policy"] = {"": {"keys": [keys(site, "new")[1]]}, "docker.io": {"allow": True}}
    engine.config_file.write_text(json.dumps(document))
    engine.stop()
    engine.start()
    assert "signature policy" in engine.run(*create, check=False).stderr  # signed by another
    engine.run("docker", "create", "elsewhere:1", "/x")


@pytest.mark.parametrize("policy", [{"x": {}}, {"x": {"keys": ["/missing"]}}, {"x": {"keys": []}}, {"x": 1}])
def test_an_unreadable_policy_keeps_the_engine_down(new_engine, policy):
    with pytest.raises(RuntimeError, match="signature-policy"):
        new_engine({"signature-policy": policy})


@pytest.mark.skipif(not COSIGN.exists(), reason="script/plugins has not got Debian trixie's cosign")
def test_cosign(site):
    """Debian's cosign takes our keys and signatures, and we take its."""

    def cosign(*arguments):
        environment = ("env", "COSIGN_PASSWORD=secret", f"HOME={site.directory}")
        return site.engine.run(*environment, str(COSIGN), *arguments)

    private, public = keys(site)
    site.corten("image", "sign", "--key", private, site.name)
    offline = ("--insecure-ignore-tlog=true", "--allow-insecure-registry")
    claims = json.loads(cosign("verify", "--key", public, *offline, site.name).stdout)
    assert claims[0]["critical"]["type"] == "cosign container image signature"
    theirs = str(site.directory / "theirs")
    cosign("generate-key-pair", "--output-key-prefix", theirs)
    sign = ("sign", "--tlog-upload=false", "--allow-insecure-registry", "--yes")
    cosign(*sign, "--key", f"{theirs}.key", site.name)
    assert "1 valid signature" in site.corten("image", "verify", "--key", f"{theirs}.pub", site.name).stdout
    cosign(*sign, "--key", private, site.name)
    assert "valid signature" in site.corten("image", "verify", "--key", public, site.name).stdout
    site.corten("image", "sign", "--key", f"{theirs}.key", site.name)
    assert "2 valid signatures" in site.corten("image", "verify", "--key", f"{theirs}.pub", site.name).stdout
    cosign("verify", "--key", f"{theirs}.pub", *offline, site.name)
