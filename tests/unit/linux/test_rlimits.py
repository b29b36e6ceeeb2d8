import os
import resource

import pytest

from corten.errors import InvalidParameter
from corten.linux import rlimits


def in_child(function):
    """Run `function` in a child, whose limits are its own; returns its (small) result as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


def test_names_of_docker_and_oci_are_numbers_of_the_kernel():
    assert rlimits.number_of("nofile") == rlimits.number_of("RLIMIT_NOFILE") == resource.RLIMIT_NOFILE
    for name, number in rlimits.NUMBERS.items():
        if hasattr(resource, name):
            assert getattr(resource, name) == number
    with pytest.raises(InvalidParameter, match="invalid ulimit type: files"):
        rlimits.number_of("files")


def test_limits_are_set():
    def change():
        warnings = rlimits.set_rlimits([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}])
        return warnings, resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(change) == "([], (100, 200))"


def test_a_limit_we_may_not_raise_is_a_warning():
    def change():
        rlimits.set_rlimits([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 50}])
        if os.getuid() == 0:
            os.setuid(65534)
        warnings = rlimits.set_rlimits([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 2**64 - 1}])
        return len(warnings), resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(change) == "(1, (50, 50))"


def test_soft_above_hard_is_refused():
    with pytest.raises(InvalidParameter):
        rlimits.set_rlimits([{"type": "RLIMIT_CORE", "soft": -1, "hard": 5}])
