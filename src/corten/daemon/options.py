"""Every key of daemon.json and its flag, in one table; names are dockerd's.

Source: dockerd(8) of Docker 28, "Daemon configuration file". Keys that Docker knows and Corten has no use
for are accepted and named in the log: a daemon.json written for Docker must not keep the engine down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a key holds."""

    TEXT = "string"
    FLAG = "true or false"
    NUMBER = "a number"
    LIST = "a list of strings"
    MAP = "an object of strings"
    OBJECT = "an object or list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting. `flag` "" = only in the file; `file` False = only on the command line."""

    name: str
    kind: Kind
    flag: str = ""
    short: str = ""
    file: bool = True
    reload: bool = False
    help: str = ""


def _option(name: str, kind: Kind, help: str, short: str = "", *, flag: str | None = None) -> Option:
    return Option(name=name, kind=kind, flag=name if flag is None else flag, short=short, help=help)


def _reloadable(name: str, kind: Kind, help: str, short: str = "", *, flag: str | None = None) -> Option:
    return Option(
        name=name, kind=kind, flag=name if flag is None else flag, short=short, reload=True, help=help
    )


def _file_only(name: str, kind: Kind, help: str) -> Option:
    return Option(name=name, kind=kind, help=help)


OPTIONS: tuple[Option, ...] = (
    _option("data-root", Kind.TEXT, "where images, containers and volumes live", flag="root"),
    _option("exec-root", Kind.TEXT, "where sockets and running state live"),
    _option("hosts", Kind.LIST, "address to serve: unix://PATH, tcp://HOST:PORT, fd://", "H", flag="host"),
    _option("pidfile", Kind.TEXT, "file for the process id", "p"),
    _option("group", Kind.TEXT, "group of the unix socket", "G"),
    Option(name="config-file", kind=Kind.TEXT, flag="config-file", file=False, help="daemon.json to read"),
    Option(
        name="insecure-tcp",
        kind=Kind.FLAG,
        flag="insecure-tcp",
        help="serve TCP without TLS: whoever reaches the port is root on this machine",
    ),
    _reloadable("debug", Kind.FLAG, "log what the engine does", "D"),
    _reloadable("log-level", Kind.TEXT, "debug, info, warn, error, fatal", "l"),
    _option("log-format", Kind.TEXT, "text or json"),
    _option("metrics-addr", Kind.TEXT, "HOST:PORT to serve Prometheus' metrics on"),
    _option("tls", Kind.FLAG, "use TLS; implied by tlsverify"),
    _option("tlsverify", Kind.FLAG, "use TLS and verify clients"),
    _option("tlscacert", Kind.TEXT, "trust clients of this CA"),
    _option("tlscert", Kind.TEXT, "certificate to show"),
    _option("tlskey", Kind.TEXT, "key of the certificate"),
    _reloadable("live-restore", Kind.FLAG, "leave containers running when the engine ends (default true)"),
    _reloadable("shutdown-timeout", Kind.NUMBER, "seconds to stop containers in if live-restore is off"),
    _reloadable("labels", Kind.LIST, "key=value labels of the engine", flag="label"),
    _reloadable(
        "authorization-plugins",
        Kind.LIST,
        "plugins that every request is put to, in order",
        flag="authorization-plugin",
    ),
    _option("log-driver", Kind.TEXT, "default logging driver of containers"),
    _option("log-opts", Kind.MAP, "default logging options of containers", flag="log-opt"),
    _option("default-shm-size", Kind.TEXT, "default size of /dev/shm"),
    _file_only("default-ulimits", Kind.OBJECT, "default ulimits of containers"),
    _option("cgroup-parent", Kind.TEXT, "parent cgroup of containers"),
    _option("storage-opts", Kind.LIST, "corten.layers, corten.gc-high, corten.gc-low", flag="storage-opt"),
    _file_only("runtimes", Kind.OBJECT, "other OCI runtimes by name"),
    _file_only(
        "builder",
        Kind.OBJECT,
        "what is kept of the build cache (gc), what builds may be granted (entitlements)",
    ),
    _option("default-runtime", Kind.TEXT, "OCI runtime where none is asked for"),
    _option("selinux-enabled", Kind.FLAG, "confine containers by SELinux (a host with it is refused)"),
    _option("experimental", Kind.FLAG, "let docker's CLI offer what Docker calls experimental (checkpoint)"),
    _option("userns-remap", Kind.TEXT, "user, or user:group, whose ids containers get; or default"),
    _option("init", Kind.FLAG, "run an init in containers"),
    _option("no-new-privileges", Kind.FLAG, "set no-new-privileges by default"),
    _option("seccomp-profile", Kind.TEXT, "file of containers' seccomp profile, or unconfined (builtin)"),
    _reloadable("insecure-registries", Kind.LIST, "registries without TLS", flag="insecure-registry"),
    _reloadable("registry-mirrors", Kind.LIST, "preferred mirrors of Docker Hub", flag="registry-mirror"),
    _reloadable("registry-config-path", Kind.LIST, "directories with hosts.toml files and certificates"),
    _reloadable("signature-policy", Kind.OBJECT, "who must have signed images", flag=""),
    _reloadable("offline", Kind.FLAG, "speak to no registry"),
    _reloadable("max-concurrent-downloads", Kind.NUMBER, "layers pulled at once (3)"),
    _reloadable("max-concurrent-uploads", Kind.NUMBER, "layers pushed at once (5)"),
    _reloadable("max-download-attempts", Kind.NUMBER, "how often a transfer is tried (5)"),
    _file_only("proxies", Kind.MAP, "http-proxy, https-proxy, no-proxy"),
    _option("http-proxy", Kind.TEXT, "proxy for http:// registries"),
    _option("https-proxy", Kind.TEXT, "proxy for https:// registries"),
    _option("no-proxy", Kind.TEXT, "hosts that are reached without the proxies"),
    _option("bridge", Kind.TEXT, "name of the default bridge, or none", "b"),
    _option("bip", Kind.TEXT, "address of the default bridge, as 10.0.0.1/24"),
    _option("cdi-spec-dirs", Kind.LIST, "directories of CDI device descriptions", flag="cdi-spec-dir"),
    _option("fixed-cidr", Kind.TEXT, "subnet that containers get addresses from"),
    _option("default-gateway", Kind.TEXT, "gateway of containers on the default bridge"),
    _option("ipv6", Kind.FLAG, "give the default bridge IPv6, too"),
    _option("fixed-cidr-v6", Kind.TEXT, "IPv6 subnet of the default bridge"),
    _option("default-gateway-v6", Kind.TEXT, "IPv6 gateway of containers on the default bridge"),
    _option("mtu", Kind.NUMBER, "MTU of the default bridge"),
    _option("icc", Kind.FLAG, "let containers on the default bridge talk to each other"),
    _option("ip", Kind.TEXT, "default address of published ports"),
    _option("publish-mode", Kind.TEXT, "how ports are published: nat (default) or socket"),
    _option("ip-forward", Kind.FLAG, "turn on net.ipv4.ip_forward"),
    _option("ip-forward-no-drop", Kind.FLAG, "leave the forwarding policy alone"),
    _option("ip-masq", Kind.FLAG, "masquerade for containers"),
    _option("iptables", Kind.FLAG, "program the firewall"),
    _file_only("default-address-pools", Kind.OBJECT, "pools that subnets are taken from"),
    _option("dns", Kind.LIST, "name servers of containers"),
    _option("dns-search", Kind.LIST, "search domains of containers"),
    _option("dns-opts", Kind.LIST, "resolver options of containers", flag="dns-opt"),
    _option("host-gateway-ip", Kind.TEXT, "what host-gateway means in --add-host"),
)

NETWORK_KEYS = (
    *("bridge", "bip", "fixed-cidr", "default-gateway", "mtu", "icc", "ip", "ip-forward"),
    *("ip-forward-no-drop", "ip-masq", "iptables", "default-address-pools", "dns", "dns-search"),
    *("dns-opts", "host-gateway-ip", "ipv6", "fixed-cidr-v6", "default-gateway-v6", "publish-mode"),
)

# Docker's, without effect here.
IGNORED = frozenset(
    {
        *(
            "allow-direct-routing",
            "allow-nondistributable-artifacts",
            "api-cors-header",
        ),
        *("bridge-accept-fwmark", "containerd", "containerd-namespace"),
        *("containerd-plugin-namespace", "cluster-advertise", "cluster-store", "cluster-store-opts"),
        *("cpu-rt-period", "cpu-rt-runtime", "default-cgroupns-mode"),
        *("default-ipc-mode", "default-network-opts", "exec-opts"),
        *("features", "firewall-backend", "host-gateway-ips"),
        *("init-path", "ip6tables", "log-formatter"),
        *("min-api-version", "network-control-plane-mtu"),
        *("node-generic-resources", "oom-score-adjust", "raw-logs"),
        "storage-driver",
        *("swarm-default-advertise-addr", "userland-proxy", "userland-proxy-path"),
        "validate",
    }
)
