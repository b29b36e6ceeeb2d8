"""What an init does to its own capabilities, seen in /proc/self/status of a child."""

import os

import pytest

from corten.linux import capabilities

pytestmark = pytest.mark.root
DEFAULT = capabilities.mask_of(capabilities.DOCKER_DEFAULT)


def after(function):
    """Masks of a child after `function`: {"CapInh": ..., "CapPrm": ...}."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
            with open("/proc/self/status") as status:
                os.write(writer, "".join(line for line in status if line.startswith("Cap")).encode())
        except BaseException as error:
            os.write(writer, f"failed:\t{error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        lines = dict(line.split(":\t", 1) for line in stream)
    os.waitpid(pid, 0)
    assert "failed" not in lines, lines
    return {name: int(mask, 16) for name, mask in lines.items()}


def test_an_ordinary_container_as_root():
    def lower():
        capabilities.drop_bounding(DEFAULT)
        capabilities.set_capabilities(DEFAULT, DEFAULT, 0)

    assert after(lower) == {"CapInh": 0, "CapPrm": DEFAULT, "CapEff": DEFAULT, "CapBnd": DEFAULT, "CapAmb": 0}


def test_a_user_keeps_what_it_is_given():
    def lower():
        capabilities.drop_bounding(DEFAULT)
        capabilities.keep_on_setuid(keep=True)
        os.setuid(1000)
        capabilities.set_capabilities(DEFAULT, DEFAULT, DEFAULT)
        capabilities.set_ambient(DEFAULT)

    assert set(after(lower).values()) == {DEFAULT}


def test_asking_for_more_than_there_is_gives_what_there_is():
    everything = capabilities.mask_of(["ALL"])
    _, held, _ = capabilities.get_capabilities()

    def lower():
        capabilities.drop_bounding(everything)
        capabilities.set_capabilities(everything, everything, everything)
        capabilities.set_ambient(everything)

    masks = after(lower)
    assert masks["CapPrm"] == masks["CapEff"] == masks["CapInh"] == masks["CapAmb"] == held


def test_ambient_is_clipped_and_cleared():
    one = capabilities.mask_of(["NET_RAW"])

    def lower():
        capabilities.set_capabilities(one, one, one)
        capabilities.set_ambient(DEFAULT)

    assert after(lower)["CapAmb"] == one

    def raise_and_clear():
        lower()
        capabilities.set_ambient(0)

    assert after(raise_and_clear)["CapAmb"] == 0
