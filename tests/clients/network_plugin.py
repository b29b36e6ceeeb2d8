"""A network and IPAM plugin, as a process: `network_plugin.py SOCKET DIRECTORY`, in the engine's network namespace.

Networks are bridges, endpoints are veth pairs. What it holds are files: DIRECTORY/{networks,endpoints,pools,addresses};
what it is asked is written to DIRECTORY/calls, one line each. While DIRECTORY/wrong-pool or DIRECTORY/wrong-address
exists, it answers with IPv6 where IPv4 was asked for, and the other way round. While DIRECTORY/slow exists, CreateEndpoint and
RequestAddress answer only after somebody has removed it.
"""

import ipaddress
import json
import os
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SOCKET, ROOT = sys.argv[1], Path(sys.argv[2])


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, stderr=subprocess.PIPE, text=True)


def network_driver(method: str, request: dict) -> dict:
    network, endpoint = request.get("NetworkID", "")[:8], request.get("EndpointID", "")[:8]
    held = ROOT / "networks" / network
    if method == "GetCapabilities":
        return {"Scope": "local", "ConnectivityScope": "local"}
    if method == "CreateNetwork":
        if request["Options"]["com.docker.network.generic"].get("fail"):
            return {"Err": "no such fabric"}
        data = request["IPv4Data"][0]
        held.write_text(json.dumps(data))
        ip(f"link add pb{network} type bridge")
        ip(f"addr add {data['Gateway']} dev pb{network}")
        ip(f"link set pb{network} up")
    elif not held.exists():
        return {"Err": f"no network {network}"}
    elif method == "DeleteNetwork":
        ip(f"link del pb{network}")
        held.unlink()
    elif method == "CreateEndpoint":
        (ROOT / "endpoints" / endpoint).write_text(json.dumps(request["Interface"]))
        ip(f"link add pv{endpoint} type veth peer name pp{endpoint}")
        ip(f"link set pv{endpoint} master pb{network} up")
        if not request["Interface"]["MacAddress"]:
            return {"Interface": {"MacAddress": f"02:99:{endpoint[:2]}:{endpoint[2:4]}:{endpoint[4:6]}:01"}}
    elif method == "Join":
        if request.get("Options", {}).get("fail"):
            return {"Err": "no"}
        assert os.path.exists(request["SandboxKey"]), request
        gateway = json.loads(held.read_text())["Gateway"].partition("/")[0]
        interface = {"SrcName": f"pp{endpoint}", "DstPrefix": "plug"}
        far = {"Destination": "198.51.100.0/24", "RouteType": 0, "NextHop": gateway}
        near = {"Destination": "203.0.113.0/24", "RouteType": 1}
        return {"InterfaceName": interface, "Gateway": gateway, "StaticRoutes": [far, near]}
    elif method == "DeleteEndpoint":
        subprocess.run(["ip", "link", "del", f"pv{endpoint}"], check=False, stderr=subprocess.DEVNULL)
        (ROOT / "endpoints" / endpoint).unlink()
    return {}


def ipam_driver(method: str, request: dict) -> dict:
    pool = request.get("PoolID", "")
    if method == "GetDefaultAddressSpaces":
        return {"LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "there"}
    if method == "RequestPool":
        assert request["AddressSpace"] == "here"
        subnet = request["Pool"] or ("fd00:99::/64" if request["V6"] else "10.99.0.0/24")
        identifier = subnet.replace("/", "_")
        (ROOT / "pools" / identifier).touch()
        if (ROOT / "wrong-pool").exists():
            subnet = "10.98.0.0/24" if request["V6"] else "fd00:98::/64"
        return {"PoolID": identifier, "Pool": subnet, "Data": {}}
    if method == "ReleasePool":
        (ROOT / "pools" / pool).unlink()
    elif method == "RequestAddress":
        subnet = ipaddress.ip_network(pool.replace("_", "/"))
        wanted = [request["Address"]] if request["Address"] else [str(each) for each in list_of(subnet)]
        for each in wanted:
            path = ROOT / "addresses" / each
            if not path.exists():
                path.touch()
                if (ROOT / "wrong-address").exists():
                    return {"Address": "10.98.0.1/24" if subnet.version == 6 else "fd00:98::1/64"}
                return {"Address": f"{each}/{subnet.prefixlen}"}
        return {"Err": "Address already in use"}
    elif method == "ReleaseAddress":
        if (ROOT / "wrong-address").exists():
            next((ROOT / "addresses").iterdir()).unlink()
        else:
            (ROOT / "addresses" / request["Address"]).unlink()
    return {}


def list_of(subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list:
    return [subnet[number] for number in range(1, 100)]


class Handler(BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "engine"

    def log_message(self, format: str, *arguments: object) -> None: ...

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = json.loads(self.rfile.read(length) or b"{}")
        interface, _, method = self.path[1:].partition(".")
        with (ROOT / "calls").open("a") as calls:
            calls.write(f"{interface}.{method}\n")
        try:
            answer = self.answer(interface, method, request)
        except Exception as error:
            answer = {"Err": repr(error)}
        while method in ("CreateEndpoint", "RequestAddress") and (ROOT / "slow").exists():
            time.sleep(0.01)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, interface: str, method: str, request: dict) -> dict:
        if interface == "Plugin":
            return {"Implements": ["NetworkDriver", "IpamDriver"]}
        return (network_driver if interface == "NetworkDriver" else ipam_driver)(method, request)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


for kind in ("networks", "endpoints", "pools", "addresses"):
    (ROOT / kind).mkdir(exist_ok=True)
Path(SOCKET).unlink(missing_ok=True)
Server(SOCKET, Handler).serve_forever()
