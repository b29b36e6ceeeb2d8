"""The worker job that fetches a URL; apart from `jobs`, because its imports take longer than most jobs."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from corten.builder.credentials import redacted
from corten.digest import from_hex
from corten.errors import InvalidParameter, Unavailable
from corten.wire.dialling import why_broken_off, why_not_reached

_READ = 256 << 10
_TIMEOUT_S = 60.0
_MODE = 0o600


class _HttpOnly(HTTPRedirectHandler):
    """Follows redirects, but never to another scheme (urllib would take ftp too) or down to plain http.

    `url`: where it has come to.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            raise HTTPError(newurl, code, f"refused redirect to {new}", headers, fp)
        self.url = newurl
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(params: Mapping[str, str], fds: list[int], report: object) -> dict[str, object]:
    """Fetch `url` into the new file `path`; answers `digest` and `size`.

    `authorization`: the header of that name, "" = none but that of a user in the URL. The file's time is
    that of Last-Modified.
    Raises InvalidParameter (the server says no), Unavailable.
    """
    path = params["path"]
    shown = redacted(params["url"])
    parts = urlsplit(params["url"])
    if parts.scheme not in ("http", "https"):
        raise InvalidParameter(f"unsupported URL {shown}")
    user, _, host = parts.netloc.rpartition("@")
    going = _HttpOnly(params["url"])
    try:
        request = Request(parts._replace(netloc=host).geturl())  # noqa: S310 - the scheme has been checked
        if authorization := params.get("authorization") or _basic(user):
            request.add_unredirected_header("Authorization", authorization)  # never to another host
        with build_opener(going).open(request, timeout=_TIMEOUT_S) as response:
            digest, size = _save(response, path)
            _set_time(path, response.headers.get("Last-Modified", ""))
    except HTTPError as error:
        raise InvalidParameter(f"failed to GET {shown} with status {error.code} {error.reason}") from error
    except URLError as error:
        raise Unavailable(f'Get "{redacted(going.url)}": {_not_reached(error.reason, going.url)}') from error
    except (HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise Unavailable(f'Get "{redacted(going.url)}": {why_broken_off(error)}') from error
    return {"digest": digest, "size": size}


def _not_reached(reason: str | BaseException, url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        return str(error)
    return why_not_reached(reason, parts.hostname, port) if isinstance(reason, Exception) else str(reason)


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(unquote_to_bytes(user)).decode()}" if user else ""


def _save(response: HTTPResponse, path: str) -> tuple[str, int]:
    sha256 = hashlib.sha256()
    size = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, _MODE)
        while data := response.read(_READ):
            sha256.update(data)
            size += len(data)
            file.write(data)
    if response.length:  # read() takes an early end for the end
        raise HTTPException(f"the server ended {response.length} bytes too early")
    return from_hex(sha256.hexdigest()), size


def _set_time(path: str, last_modified: str) -> None:
    try:
        moment = int(parsedate_to_datetime(last_modified).timestamp()) if last_modified else 0
    except ValueError:
        moment = 0
    os.utime(path, (moment, moment))
