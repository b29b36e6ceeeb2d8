"""What an engine makes for itself before it has its root."""

import os
import struct
from pathlib import Path

import pytest

from corten.daemon.instance import prepare_root

# acl(5) as linux/posix_acl_xattr.h has it: version 2; tag, permissions, id of each entry.
_NOBODY_ELSE = 0xFFFFFFFF
_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in (
        (0x01, 7, _NOBODY_ELSE),  # the owner
        (0x02, 7, 1234),  # a user
        (0x04, 5, _NOBODY_ELSE),  # the group
        (0x10, 7, _NOBODY_ELSE),  # the mask
        (0x20, 5, _NOBODY_ELSE),  # others
    )
)


def test_a_default_acl_above_the_root_is_not_inherited_by_what_is_made_in_it(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", _ACL)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    root = tmp_path / "root"
    prepare_root(str(root))
    for name in ("tmp", "containers"):
        made = root / name / "made"
        made.mkdir()
        (made / "file").touch()
        assert not [each for each in os.listxattr(made) + os.listxattr(made / "file") if "acl" in each]
    prepare_root(str(root))  # at the next start there is none to be dropped
