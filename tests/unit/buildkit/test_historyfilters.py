"""Filters of `buildx history ls`."""

import pytest

from corten.buildkit.historyfilters import parse_history_filters
from corten.buildkit.proto.control_pb2 import BuildHistoryRecord
from corten.errors import InvalidParameter


def record(*, seconds=5, error="", **attributes):
    found = BuildHistoryRecord(ref="abc123", frontend_attrs=attributes)
    found.created_at.FromJsonString("2024-05-01T10:00:00.7Z")
    found.completed_at.FromSeconds(found.created_at.seconds + seconds)
    if error:
        found.error.message = error
    return found


BUILD = record(**{"vcs:source": "https://example.org/a.git", "context": "https://other.org/b.git"})
FAILED = record(error="exit code: 1", context="https://other.org/b.git#main:sub")
CANCELLED = record(error="failed: context canceled", context=".")


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        ([], [BUILD, FAILED, CANCELLED]),
        ([""], [BUILD, FAILED, CANCELLED]),
        (["status==completed"], [BUILD]),
        (["status==error"], [FAILED]),
        (["status==canceled"], [CANCELLED]),
        (["status!=error"], [BUILD, CANCELLED]),
        (["status==error", "status==canceled"], [FAILED, CANCELLED]),
        (["ref~=c12"], [BUILD, FAILED, CANCELLED]),
        (["ref~=xyz"], []),
        (["repository==https://example.org/a.git"], [BUILD]),
        (["repository~=b.git"], [FAILED]),
        (["startedAt>=2024-05-01T10:00:00Z"], [BUILD, FAILED, CANCELLED]),
        (["startedAt>2024-05-01T10:00:00Z"], []),
        (["startedAt>1h"], []),
        (["completedAt<1h,status==error"], [FAILED]),
        (["duration>1s,duration<=5s"], [BUILD, FAILED, CANCELLED]),
        (["duration<1s"], []),
        (["nosuch==x"], []),
    ],
)
def test_what_is_meant(texts, meant):
    wanted = parse_history_filters(texts)
    assert [each for each in (BUILD, FAILED, CANCELLED) if wanted(each)] == meant


@pytest.mark.parametrize("text", ["startedAt>soon", "duration<x", "status=error", "==x", 'ref=="x'])
def test_what_is_no_filter(text):
    with pytest.raises(InvalidParameter):
        parse_history_filters([text])
