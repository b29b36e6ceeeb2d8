"""Record how the real dockerd behaves: run by `script/record-dockerd [WORD...]` (WORDs choose scenarios)."""

import json
import os
import sys
from pathlib import Path

from recording.scenarios import GROUPS
from recording.session import Session, as_documents

RECORDED = Path(__file__).parent.parent / "recorded"


def main() -> None:
    session = Session(
        os.environ["DOCKER_HOST"],
        netns_pid=int(os.environ["PEERS_PID"]),
        hidden={"/peers/docker": "<root>", "/run/docker-exec": "<exec root>"},
    )
    try:
        for group, scenarios in GROUPS.items():
            path = RECORDED / f"{group}.json"
            recorded = json.loads(path.read_text()) if path.exists() else {"scenarios": {}}
            recorded["client"] = session.client_version()
            for name, lines in scenarios.items():
                if len(sys.argv) == 1 or any(word in name for word in sys.argv[1:]):
                    print(name, flush=True)
                    recorded["scenarios"][name] = as_documents(session.run(lines))
            recorded["scenarios"] = {
                name: recorded["scenarios"][name] for name in scenarios if name in recorded["scenarios"]
            }
            path.write_text(json.dumps(recorded, indent=1, sort_keys=False) + "\n")
    finally:
        session.close()


main()
