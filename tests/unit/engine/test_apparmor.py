from pathlib import Path

import pytest

from corten.engine.containers import apparmor
from corten.engine.containers.security import parse_security_opt
from corten.errors import InvalidParameter, NotSupported
from corten.types.container import HostConfig

GOLDEN = Path(__file__).with_name("golden") / "apparmor.txt"


def test_the_profile():
    assert apparmor.profile_text() == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("options", "privileged", "profile"),
    [
        ([], False, "corten-default"),
        ([], True, "unconfined"),
        (["apparmor=unconfined"], False, "unconfined"),
        (["apparmor:mine"], False, "mine"),
        (["apparmor=mine"], True, "mine"),
    ],
)
def test_which_one_a_container_gets(options, privileged, profile):
    host_config = HostConfig(privileged=privileged)
    parsed = parse_security_opt(options)
    assert apparmor.profile_of(parsed, host_config, "corten-default") == profile
    assert apparmor.profile_of(parsed, host_config, "") == ""


def test_what_cannot_be_had(monkeypatch):
    monkeypatch.setattr(apparmor.apparmor, "loaded", lambda name: name == "mine")
    apparmor.check_profile(parse_security_opt(["apparmor=unconfined"]), "")
    apparmor.check_profile(parse_security_opt(["apparmor=mine"]), "corten-default")
    with pytest.raises(NotSupported, match="AppArmor is not enabled on this system: apparmor=mine"):
        apparmor.check_profile(parse_security_opt(["apparmor=mine"]), "")
    with pytest.raises(InvalidParameter, match="AppArmor profile other is not loaded"):
        apparmor.check_profile(parse_security_opt(["apparmor=other"]), "corten-default")
