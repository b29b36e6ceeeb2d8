"""What can go wrong between client and engine; `str(e)` is the text for the user."""

from __future__ import annotations


class ClientError(Exception):
    """Base of the client's errors."""


class ConnectionFailed(ClientError):
    """Nobody answers at the engine's address, or the connection broke in the middle."""


class NoEngine(ConnectionFailed):
    """There is no engine at the address; starting one may help. `denied`: it is there, but not for us."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.denied = denied


class APIError(ClientError):
    """The engine answered with an error: its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.message = message
