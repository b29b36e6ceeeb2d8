"""A child that shares our memory until it becomes its program: clone(2) with CLONE_VM and CLONE_VFORK.

Nothing is copied, neither pages nor their tables; we are suspended meanwhile. The child runs Python, on a
stack of its own but in our interpreter, which must afterwards be as if it had merely called a function. So
that function returns before execve(2), and what comes next is left to the C library, as a chain of contexts
(makecontext(3)):

    prepare (Python) -> memset: it has returned -> execve -> memset: execve has failed -> _exit

setcontext(3), by which one context follows the other, begins with an empty signal mask (rt_sigprocmask(2)).

A child that ends before it has returned leaves the interpreter in a state nobody knows: `Unfinished` then,
and all that is left to do is to exit. So ends one whose own seccomp filter forbids it the signal mask.

What the two share is their memory alone: descriptors, working directory, signal handlers, limits, ids,
rights, filters and oom_score_adj are the child's own (clone(2); the last because of CLONE_VFORK: kernel,
__set_oom_adj). Who can reach into the child's memory has reached us: see `corten.supervisor.seals`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

from corten.linux.process import CLONE_PARENT, unblock_signals
from corten.linux.syscalls import check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Program = tuple[str, list[str], dict[bytes, bytes]]

_CLONE_VM = 0x00000100
_CLONE_VFORK = 0x00004000
_CLONE_PARENT_SETTID = 0x00100000
_FLAGS = _CLONE_VM | _CLONE_VFORK | _CLONE_PARENT_SETTID | CLONE_PARENT

_OUR_STACK = 1 << 18  # what our own calls may need of it further on, up to clone(2)
_PYTHON_STACK = 1 << 20
_C_STACK = 1 << 14

# How far a child has come.
_PREPARED = 1
_FAILED = 2


class Unfinished(Exception):
    """The child has ended on its way; our interpreter is not to be used any more."""


class ExecveFailed(OSError):
    """errno says why."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(number, os.strerror(number), path)
        self.path = path


class _Context(ctypes.Structure):
    """ucontext_t: its beginning is the same on x86-64 and aarch64, the rest fits."""

    _fields_ = (
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_size", ctypes.c_size_t),
        ("rest", ctypes.c_char * 8192),
    )


_FUNCTION = ctypes.PYFUNCTYPE(None)
_clone = libc.clone
_getcontext = libc.getcontext
_makecontext = libc.makecontext
_makecontext.restype = None
_setcontext, _memset, _execve, _exit = (
    ctypes.cast(function, ctypes.c_void_p)
    for function in (libc.setcontext, libc.memset, libc.execve, libc._exit)
)


def _context(stack: int, size: int, link: _Context | None) -> _Context:
    """What is to go on as `link`."""
    context = _Context()
    check(_getcontext(ctypes.byref(context)), "getcontext")
    context.stack, context.stack_size = stack, size
    context.link = None if link is None else ctypes.addressof(link)
    return context


def _stack_end() -> int:
    """The lowest address of our stack so far. It can grow below; CPython 3.14 wants its frames in there."""
    with open("/proc/self/maps") as f:
        for line in f:
            if line.endswith("[stack]\n"):
                return int(line.partition("-")[0], 16)
    raise OSError(2, "no stack", "/proc/self/maps")


class LastMade:
    """Who was made last, in memory shared with whoever is forked from here: so it outlives the maker."""

    def __init__(self) -> None:
        self._pid = ctypes.c_int.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
        self.reference = ctypes.byref(self._pid)

    @property
    def pid(self) -> int:
        """0 for nobody."""
        return self._pid.value

    def forget(self) -> None:
        """Nobody."""
        self._pid.value = 0


class Vfork:
    """Makes such children, one at a time."""

    def __init__(self, made: LastMade) -> None:
        """made: there the kernel notes each child, before it runs."""
        python_stack = _stack_end() - _OUR_STACK - _PYTHON_STACK
        # Has the stack grow now: later it could not, under a container's limit.
        ctypes.memset(python_stack, 0, 1)
        self._c_stacks = ctypes.create_string_buffer(5 * _C_STACK)
        first, second, third, fourth, fifth = (
            ctypes.addressof(self._c_stacks) + number * _C_STACK for number in range(5)
        )
        self._exit = _context(first, _C_STACK, None)
        self._failed = _context(second, _C_STACK, self._exit)
        self._exec = _context(third, _C_STACK, self._failed)
        self._prepared = _context(fourth, _C_STACK, self._exec)
        self._start = _context(python_stack, _PYTHON_STACK, self._prepared)
        self._first_stack = ctypes.c_void_p(fifth + _C_STACK)
        self._prepare = _FUNCTION(self._prepare_child)
        self._made = made
        self._progress = ctypes.c_byte(0)
        self._action: Callable[[], Program] | None = None
        self._error: BaseException | None = None
        self._path = ""
        self._arguments: tuple[object, ...] = ()  # kept: execve(2) reads them

    def spawn(self, action: Callable[[], Program], flags: int = 0) -> BaseException | None:
        """Have a sibling call `action` and execute what that returns. Raises OSError, Unfinished.

        flags: CLONE_NEW*, of those that clone(2) knows. Returns what has kept the child from its program: it
        has exited.
        """
        self._action, self._error, self._progress.value = action, None, 0
        progress = ctypes.byref(self._progress)
        _makecontext(ctypes.byref(self._start), self._prepare, 0)
        _makecontext(ctypes.byref(self._prepared), _memset, 3, progress, _PREPARED, 1)
        _makecontext(ctypes.byref(self._exec), _exit, 1, 1)  # until there is a program
        _makecontext(ctypes.byref(self._failed), _memset, 3, progress, _FAILED, 1)
        _makecontext(ctypes.byref(self._exit), _exit, 1, 1)
        start = ctypes.byref(self._start)
        check(_clone(_setcontext, self._first_stack, _FLAGS | flags, start, self._made.reference), "clone")
        if not self._progress.value:
            raise Unfinished
        if self._progress.value == _FAILED:  # errno is what execve has left there: it is in our memory
            self._error = ExecveFailed(ctypes.get_errno(), self._path)
        return self._error

    def _prepare_child(self) -> None:
        """In the child."""
        try:
            assert self._action is not None
            self._path, args, env = self._action()
            arguments = [os.fsencode(each) for each in args]
            variables = [name + b"=" + value for name, value in env.items()]
            if any(b"\0" in each for each in (*arguments, *variables)):
                raise ExecveFailed(errno.EINVAL, self._path)
            argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments)
            envp = (ctypes.c_char_p * (len(variables) + 1))(*variables)
            self._arguments = ctypes.c_char_p(os.fsencode(self._path)), argv, envp
            _makecontext(ctypes.byref(self._exec), _execve, 3, *self._arguments)
        except BaseException as e:
            self._error = e
        try:
            unblock_signals()
        except OSError:  # nor could setcontext(3)
            os._exit(1)
