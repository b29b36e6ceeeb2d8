"""The flags of `run` and `create` to the body of POST /containers/create. Only what was asked for is sent."""

from __future__ import annotations

import os

from corten.cli.addresses import is_address
from corten.cli.container import environment
from corten.cli.egress import egress
from corten.cli.errors import HintedError
from corten.cli.flags import Options, invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# API field of Config: flag whose value goes there unchanged
_TEXTS = {
    "Hostname": "hostname",
    "Domainname": "domainname",
    "User": "user",
    "WorkingDir": "workdir",
    "StopSignal": "stop-signal",
}
# API field of HostConfig: flag whose value goes there unchanged
_HOST_TEXTS = {
    "VolumeDriver": "volume-driver",
    "IpcMode": "ipc",
    "PidMode": "pid",
    "UTSMode": "uts",
    "CgroupnsMode": "cgroupns",
    "CgroupParent": "cgroup-parent",
    "CpusetCpus": "cpuset-cpus",
    "CpusetMems": "cpuset-mems",
    "Runtime": "runtime",
    "Isolation": "isolation",
    "ContainerIDFile": "cidfile",
}
_HOST_SWITCHES = {
    "AutoRemove": "rm",
    "Privileged": "privileged",
    "PublishAllPorts": "publish-all",
    "ReadonlyRootfs": "read-only",
    "OomKillDisable": "oom-kill-disable",
}
_HOST_NUMBERS = {
    "Memory": "memory",
    "MemoryReservation": "memory-reservation",
    "MemorySwap": "memory-swap",
    "MemorySwappiness": "memory-swappiness",
    "KernelMemory": "kernel-memory",
    "NanoCpus": "cpus",
    "CpuShares": "cpu-shares",
    "CpuPeriod": "cpu-period",
    "CpuQuota": "cpu-quota",
    "CpuRealtimePeriod": "cpu-rt-period",
    "CpuRealtimeRuntime": "cpu-rt-runtime",
    "CpuCount": "cpu-count",
    "CpuPercent": "cpu-percent",
    "BlkioWeight": "blkio-weight",
    "IOMaximumBandwidth": "io-maxbandwidth",
    "IOMaximumIOps": "io-maxiops",
    "OomScoreAdj": "oom-score-adj",
    "PidsLimit": "pids-limit",
    "ShmSize": "shm-size",
}
_HOST_LISTS = {
    "Dns": "dns",
    "DnsOptions": "dns-option",
    "DnsSearch": "dns-search",
    "GroupAdd": "group-add",
    "Links": "link",
    "VolumesFrom": "volumes-from",
    "DeviceCgroupRules": "device-cgroup-rule",
}
_SYSCTLS = frozenset(
    (
        *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"),
        *("kernel.shmmni", "kernel.shm_rmid_forced"),
    )
)
_SYSCTL_FAMILIES = ("net.", "fs.mqueue.")
_STREAMS = ("stdin", "stdout", "stderr")


def _userns_mode(text: str) -> str:
    """`keep-id` keeps who called us."""
    return f"keep-id:uid={os.getuid()},gid={os.getgid()}" if text == "keep-id" else text


def create_body(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    """The whole body. Raises ExitError and FlagError with Docker's texts."""
    body: dict[str, Any] = {"Image": image, **_attached(options)}
    if command:
        body["Cmd"] = command
    body |= {field: options[flag] for field, flag in _TEXTS.items() if options[flag]}
    if options.given("entrypoint"):
        body["Entrypoint"] = [options["entrypoint"]]
    if options.given("stop-timeout"):
        body["StopTimeout"] = options.number("stop-timeout")
    if env := environment.environment(options):
        body["Env"] = env
    labels = environment.labels(options)
    if options.given("health-on-failure"):
        labels["corten.health.on-failure"] = options["health-on-failure"]
    if options.given("publish-mode"):
        labels["corten.publish-mode"] = options["publish-mode"]
    if options.given("egress"):
        labels["corten.egress"] = egress(options.items("egress"))
    if labels:
        body["Labels"] = labels
    if health := _health(options):
        body["Healthcheck"] = health
    body["HostConfig"] = host = _host_config(options)
    _storage(options, body, host)
    _ports(options, body, host)
    _network(options, body, host)
    return body


def _attached(options: Options) -> dict[str, Any]:
    streams = []
    for item in options.items("attach"):
        if item.lower() not in _STREAMS:
            raise invalid(options, "attach", item, "valid streams are STDIN, STDOUT and STDERR")
        streams.append(item.lower())
    streams = streams or ["stdout", "stderr"]
    interactive = options.on("interactive")
    attach_stdin = interactive or "stdin" in streams
    return {
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Tty": options.on("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive and attach_stdin,
    }


def _host_config(options: Options) -> dict[str, Any]:
    host: dict[str, Any] = {}
    for field, flag in _HOST_TEXTS.items():
        if options[flag]:
            host[field] = options[flag]
    if options["userns"]:
        host["UsernsMode"] = _userns_mode(options["userns"])
    for field, flag in _HOST_SWITCHES.items():
        if options.on(flag):
            host[field] = True
    for field, flag in _HOST_NUMBERS.items():
        if options.given(flag):
            host[field] = options.number(flag)
    for field, flag in _HOST_LISTS.items():
        if items := options.items(flag):
            host[field] = items
    _capabilities(options, host)
    for address in options.items("dns"):
        if not is_address(address):
            raise invalid(options, "dns", address, f"IP address is not correctly formatted: {address}")
    if more := options.items("dns-opt"):
        host["DnsOptions"] = host.get("DnsOptions", []) + more
    if options.given("init"):
        host["Init"] = options.on("init")
    if items := options.items("annotation"):
        host["Annotations"] = environment.pairs(items)
    if items := options.items("sysctl"):
        host["Sysctls"] = _sysctls(options, items)
    if options.given("restart"):
        host["RestartPolicy"] = _restart(options)
    if options["log-driver"] or options.items("log-opt"):
        host["LogConfig"] = {
            "Type": options["log-driver"],
            "Config": environment.pairs(options.items("log-opt")),
        }
    if items := options.items("add-host"):
        host["ExtraHosts"] = [_extra_host(options, item) for item in items]
    _rarely_given(options, host)
    return host


def _capabilities(options: Options, host: dict[str, Any]) -> None:
    """Names as CAP_X, in order; ALL stands for everything, and what is added is not dropped."""
    added, dropped = (_capability_names(options.items(flag)) for flag in ("cap-add", "cap-drop"))
    if added:
        host["CapAdd"] = sorted(added)
    if left := sorted(dropped - added):
        host["CapDrop"] = left


def _capability_names(items: list[str]) -> set[str]:
    names = {item.strip().upper() for item in items}
    if "ALL" in names:
        return {"ALL"}
    return {name if name.startswith("CAP_") else f"CAP_{name}" for name in names}


def _sysctls(options: Options, items: list[str]) -> dict[str, str]:
    for item in items:
        name, equals, _ = item.partition("=")
        if not equals or not (name in _SYSCTLS or name.startswith(_SYSCTL_FAMILIES)):
            raise invalid(options, "sysctl", item, f"sysctl '{item}' is not allowed")
    return environment.pairs(items)


def _rarely_given(options: Options, host: dict[str, Any]) -> None:
    """What needs a parser of its own, imported only if it is on the line."""
    names = ("ulimit", "device", "gpus", "security-opt", "blkio-weight-device")
    throttles = ("device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops")
    if any(map(options.given, (*names, *throttles))):
        from corten.cli.container import limits

        limits.apply(options, host)


def _restart(options: Options) -> dict[str, Any]:
    try:
        policy = restart_policy(options["restart"])
    except ValueError as e:
        raise HintedError(str(e)) from e
    if options.on("rm") and policy["Name"] not in ("", "no"):
        raise HintedError("conflicting options: cannot specify both --restart and --rm")
    return policy


def restart_policy(text: str) -> dict[str, Any]:
    """`--restart NAME[:COUNT]`. Raises ValueError with Docker's text."""
    name, colon, count = text.partition(":")
    if colon and not count.lstrip("-").isdigit():
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    if not name and text:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _extra_host(options: Options, item: str) -> str:
    name, separator, address = item.partition("=" if "=" in item else ":")
    if not separator or not name:
        raise invalid(options, "add-host", item, f'bad format for add-host: "{item}"')
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _health(options: Options) -> dict[str, Any]:
    names = (
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
    )
    given = [name for name in ("health-cmd", *names) if options.given(name)]
    if options.on("no-healthcheck"):
        if given:
            raise HintedError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    fields = dict(zip(names, ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"), strict=True))
    health: dict[str, Any] = {}
    if options["health-cmd"]:
        health["Test"] = ["CMD-SHELL", options["health-cmd"]]
    for name in given:
        if name in fields:
            if options.number(name) < 0:
                raise HintedError(f"--{name} cannot be negative")
            health[fields[name]] = options.number(name)
    return health


def _storage(options: Options, body: dict[str, Any], host: dict[str, Any]) -> None:
    if items := options.items("tmpfs"):
        host["Tmpfs"] = {path: rest for path, _, rest in (item.partition(":") for item in items)}
    if items := options.items("storage-opt"):
        if not all("=" in item for item in items):
            raise HintedError("invalid storage option")
        host["StorageOpt"] = environment.pairs(items)
    if options.on("use-api-socket"):
        raise HintedError("--use-api-socket is not supported yet")
    if not (options.given("volume") or options.given("mount")):
        return
    from corten.cli.container import mounts

    binds, anonymous = mounts.volumes(options.items("volume"))
    if binds:
        host["Binds"] = binds
    if anonymous:
        body["Volumes"] = anonymous
    found = []
    for text in options.items("mount"):
        try:
            found.append(mounts.mount(text))
        except ValueError as e:
            raise invalid(options, "mount", text, str(e)) from e
    if found:
        host["Mounts"] = found


def _ports(options: Options, body: dict[str, Any], host: dict[str, Any]) -> None:
    if not (options.given("publish") or options.given("expose")):
        return
    from corten.cli.container import ports

    bindings = ports.publish(options.items("publish"))
    if bindings:
        host["PortBindings"] = bindings
    if exposed := [*bindings, *ports.expose(options.items("expose"))]:
        body["ExposedPorts"] = {port: {} for port in exposed}


def _network(options: Options, body: dict[str, Any], host: dict[str, Any]) -> None:
    names = ("network", "net", "network-alias", "net-alias", "ip", "ip6", "link-local-ip", "mac-address")
    if not any(map(options.given, names)):
        return
    from corten.cli.container import networks

    mode, endpoints = networks.mode_and_endpoints(options)
    host["NetworkMode"] = mode
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
