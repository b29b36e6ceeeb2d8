"""Lines of the streams that pull, load, import, push and build answer."""

from __future__ import annotations

import msgspec

from corten.errors import CortenError
from corten.types.document import Document


class ProgressDetail(Document, kw_only=True, rename="lower"):
    """How far it is, in bytes unless `units` says otherwise; an empty one clears the bar."""

    current: int = 0
    total: int = 0
    units: str = ""


class ErrorDetail(Document, kw_only=True, rename="lower"):
    """code: exit code of a build's command, which the CLI exits with."""

    code: int = 0
    message: str


class JSONMessage(Document, kw_only=True, rename="camel"):
    """One line of a progress stream; aux is any JSON, as `{"ID": "sha256:..."}` after a build."""

    stream: str = ""
    status: str = ""
    progress_detail: ProgressDetail | None = None
    progress: str = ""
    id: str = ""
    error_detail: ErrorDetail | None = None
    error: str = ""
    aux: msgspec.Raw | dict[str, object] | None = None


class StreamFailure(CortenError):
    """Ends a progress stream with `errorDetail.code`: a build's command has exited with `code`."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
