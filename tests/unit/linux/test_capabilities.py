import pytest

from corten.errors import InvalidParameter
from corten.linux import capabilities


def test_the_numbers_are_the_kernels():
    assert capabilities.mask_of(["CAP_CHOWN"]) == 1
    assert capabilities.mask_of(["SYS_ADMIN"]) == 1 << 21
    assert capabilities.mask_of(["cap_checkpoint_restore"]) == 1 << 40


def test_dockers_default_mask():
    # What `grep CapEff /proc/1/status` shows in a container of dockerd.
    assert capabilities.mask_of(capabilities.DOCKER_DEFAULT) == 0xA80425FB


def test_names_come_back_from_a_mask():
    assert capabilities.names_of(0b101) == ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
    assert capabilities.mask_of(capabilities.names_of(0x1FFFFFFFFFF)) == 0x1FFFFFFFFFF


def test_all_is_what_the_kernel_knows():
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = min(int(file.read()), 40)
    assert capabilities.last_cap() == last
    assert capabilities.mask_of(["ALL"]) == (1 << last + 1) - 1


def test_unknown_names_are_refused():
    with pytest.raises(InvalidParameter, match='unknown capability: "CAP_FLY"'):
        capabilities.mask_of(["fly"])


@pytest.mark.parametrize(
    ("add", "drop", "has", "lacks"),
    [
        ([], [], ["CAP_CHOWN"], ["CAP_SYS_ADMIN"]),
        (["sys_admin"], [], ["CAP_CHOWN", "CAP_SYS_ADMIN"], []),
        ([], ["CAP_CHOWN"], ["CAP_KILL"], ["CAP_CHOWN"]),
        (["ALL"], ["SYS_ADMIN"], ["CAP_CHOWN", "CAP_NET_ADMIN"], ["CAP_SYS_ADMIN"]),
        (["net_admin"], ["ALL"], ["CAP_NET_ADMIN"], ["CAP_CHOWN"]),
    ],
)
def test_cap_add_and_cap_drop(add, drop, has, lacks):
    result = capabilities.tweak(add, drop)
    assert set(has) <= set(result)
    assert not set(lacks) & set(result)
    assert len(result) == len(set(result))


def test_our_own_sets_can_be_read():
    effective, permitted, _ = capabilities.get_capabilities()
    assert effective & ~permitted == 0
    with open("/proc/self/status") as status:
        lines = dict(line.split(":\t", 1) for line in status if line.startswith("Cap"))
    assert permitted == int(lines["CapPrm"], 16)
    assert capabilities.get_bounding() == int(lines["CapBnd"], 16) & capabilities.all_known()
