import pytest

from corten.errors import InvalidParameter
from corten.linux.seccomp import profile


def names(document, action="SCMP_ACT_ALLOW"):
    return {
        name
        for rule in document["syscalls"]
        if rule["action"] == action and not rule.get("args")
        for name in rule["names"]
    }


def test_rules_follow_capabilities():
    template = profile.default_template()
    plain = profile.resolve(template, [], machine="x86_64", kernel="6.1")
    assert not {"mount", "bpf", "chroot", "reboot"} & names(plain)
    assert "clone3" in names(plain, "SCMP_ACT_ERRNO")
    assert "mount" in names(profile.resolve(template, ["CAP_SYS_ADMIN"]))
    assert "clone3" not in names(profile.resolve(template, ["CAP_SYS_ADMIN"]), "SCMP_ACT_ERRNO")
    assert "bpf" in names(profile.resolve(template, ["CAP_BPF"]))


def test_rules_follow_machine_and_kernel():
    template = profile.default_template()
    intel = profile.resolve(template, [], machine="x86_64", kernel="4.7.10-generic")
    arm = profile.resolve(template, [], machine="aarch64", kernel="4.8.0")
    assert intel["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "arch_prctl" in names(intel) - names(arm)
    assert {"ptrace", "set_tls"} <= names(arm) - names(intel)


def test_default_filters_are_compiled_once_per_relevant_set():
    one = profile.default_filter(frozenset({"CAP_SYS_CHROOT", "CAP_CHOWN"}))
    assert profile.default_filter(frozenset({"CAP_SYS_CHROOT", "CAP_KILL"})) is one
    assert profile.default_filter(frozenset({"CAP_SYS_ADMIN"})) != one


def test_contradictions_are_refused():
    with pytest.raises(InvalidParameter, match="archMap"):
        profile.resolve(
            {"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}, []
        )
    with pytest.raises(InvalidParameter, match="'name'"):
        profile.resolve({"syscalls": [{"name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW"}]}, [])
    with pytest.raises(InvalidParameter, match="Decoding seccomp profile failed"):
        profile.parse("{")
    with pytest.raises(InvalidParameter, match="Decoding seccomp profile failed"):
        profile.parse("[" * 200_000)


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-amd64", (6, 18)), ("4.8", (4, 8)), ("5.10-rc1", (5, 10))]
)
def test_kernel_versions(release, version):
    assert profile.kernel_version(release) == version


@pytest.mark.parametrize("release", ["", "6", "six.1", "6.x"])
def test_nonsense_kernel_versions(release):
    with pytest.raises(InvalidParameter):
        profile.kernel_version(release)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"syscalls": {}}',
        '{"syscalls": ["read"]}',
        '{"syscalls": [null]}',
        '{"syscalls": [{"names": "read"}]}',
        '{"syscalls": [{"names": [1]}]}',
        '{"syscalls": [{"names": ["read"], "args": [{"value": "1"}]}]}',
        '{"syscalls": [{"names": ["read"], "args": [{"value": 1.5}]}]}',
        '{"syscalls": [{"names": ["read"], "includes": {"caps": "CAP_CHOWN"}}]}',
        '{"defaultAction": 5}',
        '{"defaultErrnoRet": true}',
        '{"archMap": [{"architecture": 1}]}',
    ],
)
def test_profiles_of_the_wrong_shape_are_refused(text):
    with pytest.raises(InvalidParameter, match="Decoding seccomp profile failed: "):
        profile.parse(text)


def test_nulls_and_unknown_keys_are_fine():
    text = '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "args": null}], "more": 1}'
    assert profile.resolve(profile.parse(text), [])["syscalls"] == [{"names": ["read"]}]
