"""What can be asked of the Dockerfile frontend instead of a build: `docker build --call`, `--check`.

Source: moby/buildkit, frontend/subrequests (names, versions, the keys of the answer).
"""

from __future__ import annotations

import msgspec

from corten.builder.asking import Questions
from corten.errors import NotSupported

_DESCRIBE = "frontend.subrequests.describe"
_REQUESTS = {
    "frontend.outline": ("outline", "List all parameters current build target supports"),
    "frontend.targets": ("targets", "List all targets current build supports"),
    "frontend.lint": ("lint", "Lint a Dockerfile"),
}
_VERSION = "1.0.0"
_KEYS = ("result.json", "result.txt")


def answer_request(request: str, questions: Questions) -> dict[str, bytes]:
    """The answer, as metadata of a result. Raises NotSupported, DockerfileError."""
    if request == _DESCRIBE:
        described = [_described(_DESCRIBE, "List available subrequest types")]
        described += [_described(name, text) for name, (_, text) in _REQUESTS.items()]
        text = "".join(f"{each['name']:40}{each['version']:10}{each['description']}\n" for each in described)
        return _answer(msgspec.json.encode(described), text, 0)
    if request not in _REQUESTS:
        raise NotSupported(f"unsupported request {request}")
    answer = questions.answer(_REQUESTS[request][0])
    return _answer(msgspec.json.encode(answer.document), answer.text, answer.status)


def _answer(document: bytes, text: str, status: int) -> dict[str, bytes]:
    return {
        "result.json": msgspec.json.format(document, indent=2),
        "result.txt": text.encode(),
        "result.statuscode": str(status).encode(),
        "version": _VERSION.encode(),
    }


def _described(name: str, description: str) -> dict[str, object]:
    return {
        "name": name,
        "version": _VERSION,
        "type": "rpc",
        "description": description,
        "metadata": [{"name": key} for key in _KEYS],
    }
