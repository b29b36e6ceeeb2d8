"""A volume plugin, as a process: `volume_plugin.py SOCKET DIRECTORY`. Keeps volumes as directories.

What it is asked is written to DIRECTORY/calls, one line each.
"""

import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SOCKET, ROOT = sys.argv[1], Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "engine"

    def log_message(self, format: str, *arguments: object) -> None: ...

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = json.loads(self.rfile.read(length) or b"{}")
        name = request.get("Name", "")
        with (ROOT / "calls").open("a") as calls:
            calls.write(f"{self.path[1:]} {name} {request.get('ID', '')[:8]}\n")
        answer = self.answer(self.path.rpartition(".")[2], name, request.get("Opts"))
        body = json.dumps(answer).encode()
        self.send_response(500 if answer.get("Err") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, method: str, name: str, options: dict[str, str] | None) -> dict[str, object]:
        directory = ROOT / "data" / name
        if method == "Activate":
            return {"Implements": ["VolumeDriver"]}
        if method == "Capabilities":
            return {"Capabilities": {"Scope": "global"}}
        if method == "List":
            return {"Volumes": [{"Name": each} for each in sorted(os.listdir(ROOT / "data"))]}
        if method == "Create":
            if (options or {}).get("fail"):
                return {"Err": "no such pool"}
            directory.mkdir(exist_ok=True)
            return {}
        if not directory.exists():
            return {"Err": "no such volume here"}
        if method == "Remove":
            for each in directory.iterdir():
                each.unlink()
            directory.rmdir()
            return {}
        if method == "Get":
            return {"Volume": {"Name": name, "Mountpoint": str(directory), "Status": {"pool": "one"}}}
        return {"Mountpoint": str(directory)}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


(ROOT / "data").mkdir(exist_ok=True)
Path(SOCKET).unlink(missing_ok=True)
Server(SOCKET, Handler).serve_forever()
