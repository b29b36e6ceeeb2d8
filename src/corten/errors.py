"""The error kinds of Corten. A kind says what the caller may do; a subclass adds facts.

    CortenError
    ├── NotFound            404  the thing named does not exist
    ├── InvalidParameter    400  the request itself is wrong
    ├── Conflict            409  the state of the thing forbids it
    ├── Unauthorized        401  who are you?
    ├── Forbidden           403  you may not
    ├── NotModified         304  already so
    ├── NotSupported        501  known to Docker, not (yet) to Corten; says so
    ├── Unavailable         503  try later
    └── InternalError       500  our fault or the kernel's

`corten.linux` raises only OSError (errno, text, path); services turn errno into
these kinds; `corten.api.status` turns kinds into HTTP. Texts are Docker's.
"""

from __future__ import annotations


class CortenError(Exception):
    """Base of every error that reaches a user; `str(e)` is the message shown."""


class NotFound(CortenError):
    """The thing named does not exist."""


class InvalidParameter(CortenError):
    """The request itself is wrong, whatever the state."""


class Conflict(CortenError):
    """The state of the thing forbids the request."""


class Unauthorized(CortenError):
    """Credentials are missing or wrong."""


class Forbidden(CortenError):
    """The caller may not do this."""


class NotModified(CortenError):
    """The thing is already as asked for."""


class NotSupported(CortenError):
    """Docker has it, Corten does not (yet); see docs/compatibility.md."""


class Unavailable(CortenError):
    """Cannot be done now; trying later may help."""


class NotSwarmManager(Unavailable):
    """Only a swarm's manager does this, and no engine of ours is one."""

    def __init__(self) -> None:
        super().__init__(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again."
        )


class InternalError(CortenError):
    """Our fault or the kernel's."""


class NoSuchContainer(NotFound):
    """No container has this name, id or unambiguous id prefix."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such container: {ref}")
        self.ref = ref


class NoSuchImage(NotFound):
    """No image has this reference, id or unambiguous id prefix."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such image: {ref}")
        self.ref = ref


class NoSuchNetwork(NotFound):
    """No network has this name or id."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"network {ref} not found")
        self.ref = ref


class NoSuchExec(NotFound):
    """No exec instance has this id."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such exec instance: {ref}")
        self.ref = ref
