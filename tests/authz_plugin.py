"""An authorization plugin, as a process: `authz_plugin.py SOCKET DIRECTORY`.

What it is asked is written to DIRECTORY/calls, a JSON object a line, with the body decoded. What it says is in
DIRECTORY/policy.json: {"deny": {"REGEX": "MESSAGE"}, "deny_answer": {...}} — matched with "METHOD URI BODY" and,
of answers, "METHOD URI STATUS BODY" — or {"raw": "what to send instead", "status": 200}.
"""

import base64
import json
import re
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    directory: Path

    def address_string(self) -> str:
        return "engine"

    def log_message(self, format: str, *arguments: object) -> None: ...

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        question = json.loads(self.rfile.read(length) or b"{}")
        policy = json.loads((self.directory / "policy.json").read_text())
        status, answer = 200, json.dumps({"Implements": ["authz"]})
        if not self.path.endswith("Activate"):
            for name in ("RequestBody", "ResponseBody"):
                question[name] = base64.b64decode(question.get(name, "")).decode()
            with (self.directory / "calls").open("a") as calls:
                calls.write(json.dumps({"Call": self.path.rpartition(".")[2], **question}) + "\n")
            status = policy.get("status", 200)
            answer = policy.get("raw") or json.dumps(self.verdict(question, policy))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def verdict(self, question: dict[str, str], policy: dict[str, dict[str, str]]) -> dict[str, object]:
        text = f"{question['RequestMethod']} {question['RequestUri']} "
        if self.path.endswith("Res"):
            rules = policy.get("deny_answer", {})
            text += f"{question.get('ResponseStatusCode')} {question['ResponseBody']}"
        else:
            rules = policy.get("deny", {})
            text += question["RequestBody"]
        for pattern, message in rules.items():
            if re.search(pattern, text, re.DOTALL):
                return {"Allow": False, "Msg": message}
        return {"Allow": True}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class AuthorizationPlugin:
    """The running process, for tests."""

    def __init__(self, folder: Path, name: str, directory: Path) -> None:
        """folder: where the engine looks for sockets; directory: for calls and policy."""
        self.name = name
        self.directory = directory
        folder.mkdir(parents=True, exist_ok=True)
        directory.mkdir(exist_ok=True)
        self.socket = folder / f"{name}.sock"
        self.policy()
        self.start()

    def start(self) -> None:
        program = [sys.executable, "-I", __file__, str(self.socket), str(self.directory)]
        self.process = subprocess.Popen(program)
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def policy(self, **policy: object) -> None:
        """From now on; nothing: everything is allowed."""
        fresh = self.directory / "policy.new"
        fresh.write_text(json.dumps(policy))
        fresh.rename(self.directory / "policy.json")

    def calls(self) -> list[dict[str, str]]:
        """What it was asked, in order; each is told once."""
        path = self.directory / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    Handler.directory = Path(sys.argv[2])
    Path(sys.argv[1]).unlink(missing_ok=True)
    Server(sys.argv[1], Handler).serve_forever()
