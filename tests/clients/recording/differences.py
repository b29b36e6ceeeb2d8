"""Where we differ from dockerd 26.1.5 on purpose: each entry says what and why, and nothing else may differ.

`as_ours` is applied to a recording before it is compared. A line is left out altogether only if no part of
its answer can agree: mostly because it asks for something that Corten refuses as not supported yet.
"""

import re

# What dockerd's output becomes in ours.
_REPLACEMENTS: list[tuple[str, str]] = [
    # We serve API 1.51 where dockerd 26.1.5 serves 1.45.
    (r"Maximum supported API version is 1\.45", "Maximum supported API version is 1.51"),
    # The runtime that failed is ours, and says it in runc 1.2's words; gRPC's "unknown" says nothing.
    (
        r"runc create failed: unable to start container process: "
        r"(.*?)(: unknown)?(?=\n|$|: permission denied\n)",
        r"corten create failed: unable to start container process: error during container init: \1",
    ),
    (r'(exec: "/etc": is a directory): permission denied', r"\1"),
    (r"(OCI runtime exec failed: .*): unknown(?=\r|\n|$)", r"\1"),
    (r"(?<=x86_64 2 )runc\b", "corten"),
    (r'"Runtime":"runc"', '"Runtime":"corten"'),
    # A cgroup namespace for every container on v1 too, where Docker does it on v2 only.
    (r"\bprivate host runc\b", "private private corten"),
    (r'"CgroupnsMode":"host"', '"CgroupnsMode":"private"'),
    (r'"name=seccomp,profile=builtin"', '"name=seccomp,profile=builtin","name=cgroupns"'),
    # Masked as by Docker 28.
    (r"(?m)^/proc/asound\n(/proc/kcore)$", r"/proc/asound\n/proc/interrupts\n\1"),
    # An overlay's identity, as Docker 28 shows it.
    (r'(?m)^"IOMaximumBandwidth":$', '"ID":\n"IOMaximumBandwidth":'),
    # An instruction's unknown flag is named with its dashes, as by Docker 28.
    (r"(dockerfile parse error on line \d+: unknown flag: )(?=\w)", r"\1--"),
    # The builder's history is in BuildKit's words, whichever protocol asked for it.
    (r"/bin/sh -c #\(nop\)  ", ""),
    (r"(?m)^(/bin/sh -c .*) (\d+B)$", r"RUN \1 # buildkit \2"),
    # No listener on IPv6 for a container that has no IPv6 address.
    (r", \[::\]:\d+->\d+/\w+", ""),
    (r"(?m)^(\d+/\w+ -> )?\[::\]:\d+\n", ""),
    (r',\{"HostIp":"::","HostPort":"\d+"\}', ""),
]

# (lines like this, why they cannot agree yet)
_LEFT_OUT: list[tuple[str, str]] = [
    (r"docker port any \| wc -l", "counts the IPv6 listener as well"),
    (r"docker ps -aq \| wc -l; docker images -qf dangling=true", "a failed build leaves no container behind"),
    # Ours lists the layer that went with the image, as Docker documents; the recorded dockerd held it still.
    (r"docker rmi (busybox|busybox other:1 \| sort|-f \$\(docker images -q busybox\))$", "removed layers"),
    (r"docker network rm ", "networks and volumes issue"),
    # What a runtime says about a step of its own that failed is its own.
    (r"docker run .*--sysctl net.core.(nosuch|somaxconn=many)|--network host --sysctl", "words of runc"),
    (r"docker update -m 256m --memory-swap -1 uu", "ours writes the two limits in the order that works"),
    (r"docker run .*--(gpus|device vendor.example)", "CDI devices are always looked for"),
]


def as_ours(text: str) -> str:
    """dockerd's recorded output as Corten would say it."""
    for pattern, replacement in _REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    return text


def is_left_out(line: str) -> bool:
    """Whether a line of a scenario is not compared."""
    return any(re.search(pattern, line) for pattern, _ in _LEFT_OUT)
