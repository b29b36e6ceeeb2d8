"""What containers of chaos and soak have besides a process: networks, names, published ports, volumes, policies."""

NETWORK = "lives"
KINDS = 4
PLAIN = 2  # of them without networks of users


def container(number: int) -> dict[str, object]:
    """Fields of a create request; numbers of the same remainder by KINDS live alike."""
    kind = number % KINDS
    if kind == 0:
        return {"HostConfig": {"NetworkMode": "none"}}
    if kind == 1:
        return {"HostConfig": {"NetworkMode": "bridge"}}
    labels = {"corten.egress": "allow=example.com:443", "corten.publish-mode": "socket"} if kind == 3 else {}
    return {
        "HostConfig": {
            "NetworkMode": NETWORK,
            "PortBindings": {"80/tcp": [{"HostPort": ""}], "53/udp": [{"HostIp": "127.0.0.1"}]},
        },
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "Labels": labels,
    }
