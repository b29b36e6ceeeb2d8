"""Authorization plugins: every request is put to them before it is served, its answer before it is sent.

What a plugin is shown is what the engine acts on: the body is read once, whole, and these bytes are given
to the handler; a document is never taken from a body that does not say it is JSON, and those are all shown.
What parsers of JSON disagree about, names that are there twice, is not let through.
Everything that goes wrong is a refusal.

Source: Docker's "Access authorization plugin"; names and texts are Docker's.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from corten.api.body import Body
from corten.api.request import Request
from corten.api.response import JSON, Answer
from corten.errors import CortenError, Forbidden, InternalError, InvalidParameter
from corten.plugins.client import Plugin, Reply
from corten.plugins.discovery import PluginFolders

T = TypeVar("T")

INTERFACE = "authz"
_ASK = "AuthZPlugin.AuthZReq"
_ASK_ANSWER = "AuthZPlugin.AuthZRes"
_THREADS = 16
_SECRET_HEADERS = frozenset((b"authorization", b"x-registry-auth", b"x-registry-config"))
_CREDENTIALS = "/auth"  # its body holds a password, which no plugin is shown


class Denied(Forbidden):
    """A plugin said no."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"authorization denied by plugin {plugin}: {message}")


class Question(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What plugins are asked; bytes travel as base64, certificates as PEM."""

    user: str = msgspec.field(default="", name="User")
    method_of_user: str = msgspec.field(default="", name="UserAuthNMethod")
    method: str = msgspec.field(name="RequestMethod")
    uri: str = msgspec.field(name="RequestUri")
    body: bytes = msgspec.field(default=b"", name="RequestBody")
    headers: Mapping[str, str] = msgspec.field(name="RequestHeaders")
    certificates: list[bytes] | None = msgspec.field(default=None, name="RequestPeerCertificates")
    status: int = msgspec.field(default=0, name="ResponseStatusCode")
    answer_body: bytes = msgspec.field(default=b"", name="ResponseBody")
    answer_headers: Mapping[str, str] | None = msgspec.field(default=None, name="ResponseHeaders")


class _Verdict(Reply):
    allow: bool = False
    msg: str | None = None


class Authorization:
    """The chain of plugins, in the order of the configuration. Empty: everything is allowed."""

    def __init__(self, folders: PluginFolders) -> None:
        self._folders = folders
        self._chain: tuple[Plugin, ...] = ()
        self.active = False
        """Whether anybody is asked."""
        self._threads: ThreadPoolExecutor | None = None

    @property
    def names(self) -> list[str]:
        """The plugins that are asked."""
        return [plugin.name for plugin in self._chain]

    async def use(self, names: Sequence[str]) -> None:
        """Ask these plugins from now on; each must be there and answer.

        Raises InvalidParameter with what is wrong with the first that is not; then the chain is as before.
        """
        self._chain = tuple([await self._in_thread(self._open, name) for name in dict.fromkeys(names)])
        self.active = bool(self._chain)

    def _open(self, name: str) -> Plugin:
        try:
            plugin = Plugin(self._folders.find(name))
            implemented = plugin.activate()
        except CortenError as e:
            raise InvalidParameter(f"error validating authorization plugin: {e}") from e
        if INTERFACE not in implemented:
            text = f'plugin "{name}" does not implement "{INTERFACE}"'
            raise InvalidParameter(f"error validating authorization plugin: {text}")
        return plugin

    async def admit(self, request: Request, *, template: str) -> Question:
        """Put a request to all plugins. Raises Denied, InternalError, BodyTooLarge, InvalidParameter.

        A JSON body is read for it, and what was shown is put in its place.
        """
        body = b""
        if request.is_json and template != _CREDENTIALS:
            body = await request.body.read()
            check_unambiguous(body)
            request.body = Body.of(body)
        question = _question(request, body)
        await self._ask(_ASK, question)
        return question

    async def admit_answer(self, question: Question, answer: Answer) -> None:
        """Put the answer to the same request to all plugins. Raises Denied, InternalError."""
        question.status = answer.status
        question.answer_headers = _answer_headers(answer)
        question.answer_body = answer.body if answer.content_type == JSON else b""
        await self._ask(_ASK_ANSWER, question)

    async def tell_streamed(self, question: Question, status: int) -> None:
        """Tell of an answer that was sent piece by piece, and so not shown. Raises Denied, InternalError."""
        question.status = status
        await self._ask(_ASK_ANSWER, question)

    def close(self) -> None:
        """Wait for nobody."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, method: str, question: Question) -> None:
        for plugin in self._chain:
            try:
                verdict = await self._in_thread(plugin.call, method, question, _Verdict)
            except CortenError as e:
                raise InternalError(f"plugin {plugin.name} failed with error: {e}") from e
            if not verdict.allow:
                raise Denied(plugin.name, verdict.msg or "")

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        # Threads of their own: a plugin that answers slowly must not keep the engine's other work waiting.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "authorization")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def check_unambiguous(document: bytes) -> None:
    """Raise InvalidParameter if an object of a JSON text has a name twice: Go merges what it finds there,
    others take the last. (Names that differ in case are looked after by `corten.api.documents`.)"""
    try:
        json.loads(document, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError):
        pass  # no JSON: the handler has the words for that


def _unambiguous(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise InvalidParameter("invalid JSON: a name is there more than once in an object")


def _question(request: Request, body: bytes) -> Question:
    question = Question(
        method=request.method.decode(),
        uri=request.uri,
        body=body,
        headers={
            _canonical(name): value.decode("latin-1")
            for name, value in request.headers.items()
            if name not in _SECRET_HEADERS and name != b"host"
        },
    )
    certificate = request.tls.getpeercert(binary_form=True) if request.tls is not None else None
    if request.tls is not None and certificate:
        question.user = _common_name(request.tls)
        question.method_of_user = "TLS"
        question.certificates = [ssl.DER_cert_to_PEM_cert(certificate).encode()]
    return question


def _common_name(tls: ssl.SSLObject) -> str:
    """The last common name of the client's certificate, as Go takes it."""
    subject = (tls.getpeercert() or {}).get("subject", ())
    found = ""
    for part in subject:
        for pair in part:
            if isinstance(pair, tuple) and pair[0] == "commonName":
                found = str(pair[1])
    return found


def _canonical(name: bytes) -> str:
    """content-type → Content-Type."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


def _answer_headers(answer: Answer) -> dict[str, str]:
    lines = [line.partition(": ") for line in answer.headers.decode("latin-1").split("\r\n") if line]
    headers = {name: value for name, _, value in lines}
    return {"Content-Type": answer.content_type.decode("latin-1"), **headers} if answer.body else headers
