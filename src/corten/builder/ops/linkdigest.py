"""The digest of a layer of links, found by a second process while the first makes the links.

Linking is the kernel's work on directories, hashing is ours on what was recorded (`recordedtar`): neither
waits for the other. Whatever keeps the digest from being found here, the layer's tar has it too.
"""

from __future__ import annotations

import marshal
import os
import signal

from corten.builder.ops.recordedtar import LayerOfLinks, LinkedTree, digest_of_links
from corten.linux.files import write_all
from corten.linux.syscalls import PR_SET_PDEATHSIG, prctl
from corten.snapshots.archive import TreeArchiver
from corten.snapshots.tar_writer import TarWriter

_ANSWER = 4096


class LinkDigest:
    """Of a layer that becomes nothing but one tree of links. Leaving the block ends the process."""

    def __init__(self, source: int, upper: int, index: str) -> None:
        """Fds of the directory that is linked from and of the upperdir; the former's `TreeIndex`."""
        self._source = source
        self._upper = upper
        self._index = index
        self._child = 0
        self._answer = -1

    def __enter__(self) -> LinkDigest:
        return self

    def begin(self, tree: LinkedTree) -> None:
        """It is about to be linked."""
        beginning = _beginning(self._upper, tree.place)
        if beginning is None:
            return
        self._answer, theirs = os.pipe()
        parent = os.getpid()
        self._child = os.fork()
        if self._child:
            os.close(theirs)
            return
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                found = digest_of_links(beginning, self._source, tree, self._index)
                if found is not None:
                    write_all(theirs, marshal.dumps((found.diff_id, found.size)))
        finally:
            os._exit(0)

    def find(self) -> LayerOfLinks | None:
        """What the layer is if all could be linked; None if it has not been found."""
        answer = os.read(self._answer, _ANSWER) if self._child else b""
        return LayerOfLinks(*marshal.loads(answer)) if answer else None  # noqa: S302 - our own process'

    def __exit__(self, *_: object) -> None:
        if self._child:
            os.close(self._answer)
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0


def _beginning(upper: int, place: str) -> bytearray | None:
    """How the layer's tar begins: all of an upperdir that has only the empty directory `place` so far.

    None if there is more in it.
    """
    found = [directories + files for _, directories, files, _ in os.fwalk(".", dir_fd=upper)]
    if found != [*([name] for name in place.split("/") if name), []]:
        return None
    data = bytearray()
    TreeArchiver(TarWriter(data.extend), overlay=True).add_tree(upper)
    return data
