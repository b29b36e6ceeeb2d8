"""The unmodified docker CLI gets from us what it got from dockerd 26.1.5: same output, same exit codes.

script/record-dockerd makes the recordings; recording/differences.py lists what differs on purpose.
"""

import json
from pathlib import Path

import pytest
from recording.differences import LEFT_OUT, as_ours
from recording.scenarios import GROUPS
from recording.session import Session, as_documents

_RECORDED = {
    group: json.loads((Path(__file__).parent / "recorded" / f"{group}.json").read_text()) for group in GROUPS
}
_SCENARIOS = [(group, name) for group, scenarios in GROUPS.items() for name in scenarios]


@pytest.mark.parametrize(("group", "name"), _SCENARIOS, ids=[name for _, name in _SCENARIOS])
def test_same_as_dockerd(session: Session, group: str, name: str) -> None:
    recorded_client = _RECORDED[group]["client"]
    client = session.client_version()
    if client.split(".")[0] != recorded_client.split(".")[0]:
        pytest.skip(f"recorded with docker CLI {recorded_client}, this one is {client}: its own words differ")
    recorded = {document["line"]: document for document in _RECORDED[group]["scenarios"][name]}
    lines = GROUPS[group][name]
    assert list(recorded) == list(dict.fromkeys(lines)), "scenario changed: run script/record-dockerd"
    expected, actual = [], []
    for before, now in zip(
        _RECORDED[group]["scenarios"][name], as_documents(session.run(lines)), strict=True
    ):
        if (name, before["line"]) in LEFT_OUT:
            continue
        expected += _readable(
            {**before, "stdout": as_ours(before["stdout"]), "stderr": as_ours(before["stderr"])}
        )
        actual += _readable(now)
    assert actual == expected


def _readable(outcome: dict[str, object]) -> list[str]:
    """One list entry a line of output, so that pytest shows which differ."""
    rows = [f"$ {outcome['line']}", f"exit status {outcome['status']}"]
    for stream in ("stdout", "stderr"):
        rows += [f"{stream}: {row}" for row in str(outcome[stream]).splitlines()]
    return rows
