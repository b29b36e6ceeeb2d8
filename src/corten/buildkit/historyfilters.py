"""Which of the builds that have ended are meant: filters as `buildx history ls --filter` sends them.

Conditions with commas between them must all hold; of several texts one is enough. `startedAt` and
`completedAt` are compared (`<`, `<=`, `>`, `>=`) with a time or with how long ago that is, `duration` with
a duration; `ref`, `status` and `repository` are for containerd's selectors.
Source: moby/buildkit, solver/llbsolver/history/filter.go.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from corten.builder.fields import comma_fields
from corten.builder.gitref import parse_git_ref
from corten.builder.selectors import any_of, parse_selectors
from corten.buildkit.proto.control_pb2 import BuildHistoryRecord
from corten.errors import InvalidParameter
from corten.units import SECOND_NS, parse_duration, parse_time

Meant: TypeAlias = Callable[[BuildHistoryRecord], bool]

_COMPARED = re.compile(r"(startedAt|completedAt|duration)(<=|>=|<|>)(.*)")
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CANCELLED = "context canceled"


def parse_history_filters(texts: Sequence[str]) -> Meant:
    """Whether a build is meant; without any text all are. Raises InvalidParameter."""
    return any_of(texts, _parse)


def _parse(text: str) -> list[Meant]:
    compared: list[Meant] = []
    others: list[str] = []
    for condition in comma_fields(text):
        match = _COMPARED.fullmatch(condition)
        if match is None:
            others.append(condition)
        else:
            compared.append(_comparison(*match.groups()))
    selected = parse_selectors([",".join(others)])
    return [*compared, lambda record: selected(partial(_field, record))]


def _comparison(name: str, sign: str, text: str) -> Meant:
    """Times are compared by their seconds; a build that is not over was over in 1970."""
    holds = _COMPARISONS[sign]
    try:
        if name == "duration":
            least_ns = parse_duration(text)
            return lambda record: holds(_duration_ns(record), least_ns)
        moment = parse_time(text, time.time_ns()) // SECOND_NS
    except ValueError:
        raise InvalidParameter(f"invalid {'duration' if name == 'duration' else 'time'} {text}") from None
    if name == "startedAt":
        return lambda record: holds(record.created_at.seconds, moment)
    return lambda record: holds(record.completed_at.seconds, moment)


def _duration_ns(record: BuildHistoryRecord) -> int:
    if not record.HasField("completed_at"):
        return 0
    return record.completed_at.ToNanoseconds() - record.created_at.ToNanoseconds()


def _field(record: BuildHistoryRecord, name: str) -> str | None:
    if name == "ref":
        return record.ref
    if name == "status":
        return _status(record)
    if name == "repository":
        return _repository(record)
    return None


def _status(record: BuildHistoryRecord) -> str:
    if not record.HasField("completed_at"):
        return "running"
    if not record.HasField("error"):
        return "completed"
    return "canceled" if _CANCELLED in record.error.message else "error"


def _repository(record: BuildHistoryRecord) -> str | None:
    if source := record.frontend_attrs.get("vcs:source"):
        return source
    try:
        reference = parse_git_ref(record.frontend_attrs.get("context", ""), context=True)
    except InvalidParameter:
        return None
    return reference.remote if reference is not None else None
