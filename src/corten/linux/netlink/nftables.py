"""nf_tables rule sets in nft(8)'s language, applied in one transaction through libnftables(3).

The library is loaded at the first use; a machine that never publishes anything can do without it.
"""

from __future__ import annotations

import ctypes
import errno
import os

_LIBRARY = "libnftables.so.1"
_OUTPUT_HANDLE = 1 << 3


class Nftables:
    """A libnftables context. Acts in the network namespace of the calling thread.

    Not for use by two threads at once. Raises OSError(ENOENT) if the library is not installed.
    """

    def __init__(self, *, handles: bool = False) -> None:
        """handles: what is listed has its numbers, by which rules are deleted."""
        self._library = _load()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise OSError(errno.ENOMEM, "nft_ctx_new", _LIBRARY)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)
        if handles:
            self._library.nft_ctx_output_set_flags(self._context, _OUTPUT_HANDLE)

    def apply(self, commands: str) -> str:
        """Execute nft(8) commands as one transaction; returns what they print (`list`).

        Raises OSError with libnftables' messages; then nothing is changed.
        """
        ctypes.set_errno(0)
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        number = ctypes.get_errno()
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        complaint: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status != 0:
            text = complaint.decode("utf-8", "replace").strip() or os.strerror(number or errno.EINVAL)
            raise OSError(number or errno.EINVAL, text, "nft_run_cmd_from_buffer")
        return output.decode("utf-8", "replace")

    def close(self) -> None:
        """Free the context; closing twice is harmless."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def __enter__(self) -> Nftables:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        hint = f"{_LIBRARY} cannot be loaded; it is in the package libnftables1 ({error})"
        raise OSError(errno.ENOENT, hint, _LIBRARY) from error
    context = ctypes.c_void_p
    for name, result, arguments in (
        ("nft_ctx_new", context, [ctypes.c_uint32]),
        ("nft_ctx_free", None, [context]),
        ("nft_ctx_buffer_output", ctypes.c_int, [context]),
        ("nft_ctx_output_set_flags", None, [context, ctypes.c_uint]),
        ("nft_ctx_buffer_error", ctypes.c_int, [context]),
        ("nft_ctx_get_output_buffer", ctypes.c_char_p, [context]),
        ("nft_ctx_get_error_buffer", ctypes.c_char_p, [context]),
        ("nft_run_cmd_from_buffer", ctypes.c_int, [context, ctypes.c_char_p]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
