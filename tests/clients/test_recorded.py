"""The unmodified docker CLI gets from us what it got from dockerd 26.1.5: same output, same exit codes.

script/record-dockerd makes the recordings; recording/differences.py lists what differs on purpose.
"""

import json
from pathlib import Path

import pytest
from recording.comparison import report, rows
from recording.differences import as_ours, is_left_out
from recording.scenarios import GROUPS
from recording.session import Session, as_documents

_DIRECTORY = Path(__file__).parent / "recorded"
_RECORDED = {group: json.loads((_DIRECTORY / f"{group}.json").read_text()) for group in GROUPS}
_SCENARIOS = [(group, name) for group, scenarios in GROUPS.items() for name in scenarios]


@pytest.mark.parametrize(("group", "name"), _SCENARIOS, ids=[name for _, name in _SCENARIOS])
def test_same_as_dockerd(session: Session, group: str, name: str) -> None:
    recorded_client, client = _RECORDED[group]["client"], session.client_version()
    if client.split(".")[0] != recorded_client.split(".")[0]:
        pytest.skip(f"recorded with docker CLI {recorded_client}, this one is {client}: its own words differ")
    before = _RECORDED[group]["scenarios"][name]
    lines = GROUPS[group][name]
    assert [outcome["line"] for outcome in before] == lines, "scenario changed: run script/record-dockerd"
    now = as_documents(session.run(lines))
    expected = rows(
        [
            {**outcome, "stdout": as_ours(outcome["stdout"]), "stderr": as_ours(outcome["stderr"])}
            for outcome in before
            if not is_left_out(outcome["line"])
        ]
    )
    actual = rows([outcome for outcome in now if not is_left_out(str(outcome["line"]))])
    if actual != expected:
        pytest.fail(report(expected, actual), pytrace=False)
