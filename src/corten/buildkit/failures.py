"""Errors as BuildKit's clients understand them: gRPC codes, and typed details for excerpts and exit codes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from google.protobuf.any_pb2 import Any

from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.proto.llb_pb2 import SourceInfo
from corten.errors import CortenError

log = logging.getLogger(__name__)

_ERRDEFS = "github.com/moby/buildkit/errdefs"
STATE = f"{_ERRDEFS}.Solve+json"
"""Of the detail that names references of the build, which are of no use to anybody after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Lines of a source text (1-based, inclusive)."""

    source: SourceInfo
    line: int
    end_line: int


class BuildFailed(Exception):
    """A build's error with what clients show besides its text.

    `vertex`: digest of the step that failed. `exit_code`: of the command, 0 if there was none. `state`: what
    it takes to run the command again, and to look at what it has left (`errdefs.Solve`).
    """

    def __init__(
        self,
        cause: Exception,
        *,
        message: str = "",
        place: Place | None = None,
        vertex: str = "",
        exit_code: int = 0,
        state: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message or str(cause))
        self.cause = cause
        self.place = place
        self.vertex = vertex
        self.exit_code = exit_code
        self.state = state

    def with_state(self, state: Mapping[str, object]) -> BuildFailed:
        """The same, with a state."""
        return BuildFailed(
            self.cause,
            message=str(self),
            place=self.place,
            vertex=self.vertex,
            exit_code=self.exit_code,
            state=state,
        )


def grpc_error(error: Exception) -> GRPCError:
    """What a call answers that ended in `error`."""
    if isinstance(error, GRPCError):
        return error
    if isinstance(error, BuildFailed):
        inner = grpc_error(error.cause)
        return GRPCError(inner.status, str(error), _details(error))
    if isinstance(error, CortenError):
        # Clients print the code before the text, of any but this one.
        return GRPCError(Status.UNKNOWN, str(error))
    reference = secrets.token_hex(4)
    log.error("unexpected error", exc_info=error, extra={"reference": reference})
    return GRPCError(
        Status.INTERNAL, f"internal error of the engine; its log has the details under {reference}"
    )


def _details(error: BuildFailed) -> Sequence[Any]:
    details = []
    if error.exit_code:
        details.append(
            _any(f"{_ERRDEFS.rpartition('/')[0]}/gatewayapi.ExitMessage+json", {"Code": error.exit_code})
        )
    if error.vertex:
        details.append(_any(f"{_ERRDEFS}.Vertex+json", {"digest": error.vertex}))
    if error.state is not None:
        details.append(_any(STATE, error.state))
    if error.place is not None:
        details.append(_any(f"{_ERRDEFS}.Source+json", _place(error.place)))
    return details


def _place(place: Place) -> object:
    source = place.source
    info = {"filename": source.filename, "data": source.data, "language": source.language}
    return {
        "info": info,
        "ranges": [{"start": {"line": place.line}, "end": {"line": place.end_line or place.line}}],
    }


def _any(url: str, document: object) -> Any:
    return Any(type_url=url, value=msgspec.json.encode(document))
