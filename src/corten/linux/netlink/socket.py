"""A netlink socket: a batch of messages per system call, one error report, dumps.

Sources: netlink(7), Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from corten.linux.netlink import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLMSGERR_ATTR_MSG = 1
_AF_NETLINK = 16

_RECEIVE_BYTES = 65536  # the kernel never makes a larger dump datagram (NLMSG_GOODSIZE is 8 or 32 kB)
_DUMP_ATTEMPTS = 8

_ERROR = struct.Struct("=i")


class NetlinkSocket:
    """One netlink socket of one family, acting in the network namespace where it was opened.

    Owns its descriptor. Not for use by two threads at once. Every method raises
    OSError(errno, text), where the text holds the kernel's extended acknowledgement if it gave one.
    """

    __slots__ = ("_sequence", "_socket")

    def __init__(self, family: int = NETLINK_ROUTE, *, fd: int | None = None) -> None:
        """Open a socket, or take over `fd`, which another process opened (in another namespace)."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        if fd is None:
            self._socket = socket.socket(_AF_NETLINK, kind, family)
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        else:
            self._socket = socket.socket(_AF_NETLINK, kind, family, fd)
        self._sequence = 0

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._socket.fileno()

    def detach(self) -> int:
        """Give the descriptor up to the caller."""
        return self._socket.detach()

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def transact(self, messages: Sequence[bytes], tolerate: Container[int | None] = ()) -> None:
        """Send a batch with one system call and wait until the kernel has done all of it.

        rtnetlink executes the messages in order, and goes on after one that failed; the first failure
        is raised when all are through. errno values in `tolerate` do not count as failures.
        Failures are always reported, so only the last message asks for an acknowledgement.
        """
        if not messages:
            return
        first = self._sequence + 1
        last = self._send(messages, acknowledge=len(messages) - 1)
        self._await(first, last, tolerate)

    def commit(self, messages: Sequence[bytes]) -> None:
        """Send an nfnetlink batch, BEGIN and END included, which is done as a whole or not at all.

        Messages that fail are reported singly, a refused batch only by its BEGIN. The END is not
        acknowledged by kernels before 6.10, so the message before it is asked to be.
        """
        first = self._sequence + 1
        last = self._send(messages, acknowledge=len(messages) - 2) - 1
        self._await(first, last, (), fatal=first)

    def request(self, message: bytes) -> codec.Message:
        """Send one message that is answered by one message (RTM_GET...), and return that."""
        self._send([message])
        while True:
            for answer in codec.iterate_messages(self._receive()):
                if answer.sequence != self._sequence:
                    continue
                if answer.kind == codec.NLMSG_ERROR:
                    raise _failure(answer) or OSError(errno.EPROTO, "netlink: acknowledgement without answer")
                return answer

    def dump(self, kind: int, payload: bytes) -> list[codec.Message]:
        """All objects of a kind. Asked again if the table changed meanwhile (NLM_F_DUMP_INTR)."""
        for _ in range(_DUMP_ATTEMPTS):
            answers, complete = self._dump_once(kind, payload)
            if complete:
                return answers
        raise OSError(errno.EAGAIN, "netlink: the table kept changing while it was read")

    def subscribe(self, group: int) -> None:
        """Join a multicast group; from now on read with `pending` only."""
        self._socket.bind((0, 0))  # a socket without port id is left out of multicasts
        self.set_option(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def set_option(self, level: int, option: int, value: int | bytes) -> None:
        """setsockopt(2)."""
        self._socket.setsockopt(level, option, value)

    def pending(self) -> list[codec.Message]:
        """The notifications that have come in; does not wait. OSError(ENOBUFS): some were lost."""
        messages: list[codec.Message] = []
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            messages += codec.iterate_messages(data)

    def _dump_once(self, kind: int, payload: bytes) -> tuple[list[codec.Message], bool]:
        self._send([codec.message(kind, codec.NLM_F_DUMP, payload)])
        answers: list[codec.Message] = []
        complete = True
        while True:
            for answer in codec.iterate_messages(self._receive()):
                if answer.sequence != self._sequence:
                    continue
                if answer.flags & codec.NLM_F_DUMP_INTR and answer.kind != codec.NLMSG_ERROR:
                    complete = False
                if answer.kind in (codec.NLMSG_DONE, codec.NLMSG_ERROR):
                    failure = _failure(answer)
                    if failure is not None:
                        raise failure
                    return answers, complete
                answers.append(answer)

    def _await(self, first: int, last: int, tolerate: Container[int | None], *, fatal: int = 0) -> None:
        """Read reports until that of message `last`, or an error of message `fatal`, is in."""
        failure: OSError | None = None
        while True:
            for answer in codec.iterate_messages(self._receive()):
                if answer.kind != codec.NLMSG_ERROR or answer.sequence < first:
                    continue
                error = _failure(answer)
                if error is not None and failure is None and error.errno not in tolerate:
                    failure = error
                if answer.sequence == last or (error is not None and answer.sequence == fatal):
                    if failure is not None:
                        raise failure
                    return

    def _send(self, messages: Sequence[bytes], acknowledge: int = -1) -> int:
        """Number the messages and send them; returns the last one's number."""
        batch = []
        for index, message in enumerate(messages):
            self._sequence += 1
            flags = codec.NLM_F_ACK if index == acknowledge else 0
            batch.append(codec.stamp(message, self._sequence, flags))
        self._socket.send(b"".join(batch))
        return self._sequence

    def _receive(self) -> bytes:
        return self._socket.recv(_RECEIVE_BYTES)


def _failure(answer: codec.Message) -> OSError | None:
    """The OSError of an NLMSG_ERROR or NLMSG_DONE message, None if it reports success."""
    if len(answer.payload) < 4:
        return None
    number = -_ERROR.unpack_from(answer.payload)[0]
    if number <= 0:
        return None
    return OSError(number, f"netlink: {_extended_text(answer) or os.strerror(number)}")


def _extended_text(answer: codec.Message) -> str:
    """The kernel's own words, if it sent any (struct nlmsgerr, NLM_F_ACK_TLVS)."""
    if not answer.flags & codec.NLM_F_ACK_TLVS:
        return ""
    offset = 4
    if answer.kind == codec.NLMSG_ERROR:
        offset += codec.HEADER_SIZE
        if not answer.flags & codec.NLM_F_CAPPED:  # the whole request is echoed
            request_bytes = codec.read_u32(answer.payload[4:8])
            offset = 4 + ((request_bytes + 3) & ~3)
    try:
        return codec.read_text(codec.attributes(answer.payload, offset).get(_NLMSGERR_ATTR_MSG, b""))
    except ValueError:
        return ""
