"""What `test_cli_as_docker.py` compares: documents that an engine could answer with, and command lines."""

import json
import time

NOW = int(time.time())  # spans from it must not change their words while the tests run
MINUTE, HOUR, DAY = 60, 3600, 86400


def _id(digit):
    return digit * 64


CONTAINERS = [
    {
        "Id": _id("a"),
        "Names": ["/web"],
        "Image": "busybox:latest",
        "ImageID": "sha256:" + _id("1"),
        "Command": "sleep 100000 and more words",
        "Created": NOW - 5 * HOUR - 5 * MINUTE,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"PrivatePort": 444, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 90, "PublicPort": 90, "Type": "udp"},
            {"IP": "0.0.0.0", "PrivatePort": 91, "PublicPort": 91, "Type": "udp"},
        ],
        "Labels": {"b": "2", "a": "1"},
        "State": "running",
        "Status": "Up 5 hours",
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [
            {"Type": "volume", "Name": _id("7"), "Source": "/x", "Destination": "/d", "Driver": "local"},
            {"Type": "bind", "Source": "/etc", "Destination": "/e"},
        ],
        "SizeRw": 1234,
        "SizeRootFs": 4567890,
    },
    {
        "Id": _id("b"),
        "Names": ["/db", "/web/alias"],
        "Image": "sha256:" + _id("2"),
        "ImageID": "sha256:" + _id("2"),
        "Command": 'sh -c "x"\t\n',
        "Created": NOW - 20 * DAY,
        "Ports": [],
        "Labels": {},
        "State": "exited",
        "Status": "Exited (0) 2 weeks ago",
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Networks": {"host": {}}},
        "Mounts": [],
        "SizeRootFs": 4567890,
    },
    {
        "Id": _id("c"),
        "Names": ["/x"],
        "Image": "reg.example:5000/a/b@sha256:" + _id("2"),
        "ImageID": "sha256:" + _id("3"),
        "Command": "top",
        "Created": NOW - HOUR - 5 * MINUTE,
        "Ports": None,
        "Labels": None,
        "State": "created",
        "Status": "Created",
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [],
    },
]
_IMAGE = {"ParentId": "", "SharedSize": -1, "Labels": None, "Containers": -1}
IMAGES = [
    {
        **_IMAGE,
        "Id": "sha256:" + _id("1"),
        "RepoTags": ["busybox:latest", "busybox:1.36"],
        "RepoDigests": ["busybox@sha256:" + _id("9")],
        "Created": NOW - 100 * DAY,
        "Size": 4261550,
    },
    {
        **_IMAGE,
        "Id": "sha256:" + _id("2"),
        "RepoTags": None,
        "RepoDigests": None,
        "Created": NOW - 2 * HOUR - 5 * MINUTE,
        "Size": 1124261550,
    },
    {
        **_IMAGE,
        "Id": "sha256:" + _id("3"),
        "RepoTags": [],
        "RepoDigests": ["reg.example:5000/very/long/name/of/image@sha256:" + _id("8")],
        "Created": NOW - 800 * DAY,
        "Size": 999999,
    },
]
_ENGINE = {
    "ApiVersion": "1.45",
    "Arch": "amd64",
    "BuildTime": "2024-07-23T12:13:18.000000000+00:00",
    "GitCommit": "411e817",
    "GoVersion": "go1.22.5",
    "MinAPIVersion": "1.24",
    "Os": "linux",
}
VERSION = {
    **_ENGINE,
    "Platform": {"Name": "Docker Engine - Community"},
    "Components": [
        {"Name": "Engine", "Version": "26.1.5", "Details": {**_ENGINE, "Experimental": "false"}},
        {"Name": "containerd", "Version": "1.7.24", "Details": {"GitCommit": "abc"}},
    ],
    "Version": "26.1.5",
}
INFO = {
    "ID": "x-y",
    "Containers": 3,
    "ContainersRunning": 1,
    "ContainersPaused": 0,
    "ContainersStopped": 2,
    "Images": 4,
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
    "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Authorization": None, "Log": ["local"]},
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUShares": True,
    "CPUSet": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "OomKillDisable": True,
    "LoggingDriver": "json-file",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "KernelVersion": "6.18",
    "OperatingSystem": "Debian GNU/Linux 12",
    "OSType": "linux",
    "Architecture": "x86_64",
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Name": "docker.io", "Secure": True}, "r:5000": {"Name": "r:5000"}},
        "Mirrors": ["https://mirror.example/"],
    },
    "NCPU": 2,
    "MemTotal": 8217395200,
    "DockerRootDir": "/var/lib/docker",
    "HttpProxy": "http://proxy:1",
    "Name": "host1",
    "Labels": ["a=b"],
    "ServerVersion": "26.1.5",
    "Runtimes": {"runc": {"path": "runc"}, "crun": {"path": "crun"}},
    "DefaultRuntime": "runc",
    "Swarm": {"LocalNodeState": "inactive"},
    "InitBinary": "docker-init",
    "ContainerdCommit": {"ID": "abc"},
    "RuncCommit": {"ID": "def"},
    "InitCommit": {"ID": "ghi"},
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "Warnings": ["WARNING: No swap limit support"],
}
NETWORKS = [
    {
        "Name": name,
        "Id": _id(digit),
        "Created": created,
        "Scope": "local",
        "Driver": name,
        "EnableIPv6": False,
        "Internal": False,
        "Labels": labels,
    }
    for name, digit, created, labels in (
        ("bridge", "d", "2024-07-23T12:13:18.123456789Z", {}),
        ("host", "e", "2024-07-23T12:13:18.5+02:00", {"q": "1"}),
    )
]
WEB = {
    "Id": _id("a"),
    "Name": "/web",
    "Created": "2024-07-23T12:13:18.000000000Z",
    "Path": "sleep",
    "Args": ["1", "<x>"],
    "State": {"Status": "running", "Running": True, "Pid": 12, "ExitCode": 0},
    "Mounts": [],
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"k": "v"}, "Volumes": None, "ExposedPorts": {"80/tcp": {}}},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
    "HostConfig": {"Binds": None, "Memory": 0},
}
EVENTS = [
    {
        "Type": "container",
        "Action": "create",
        "Actor": {"ID": _id("a"), "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1721736798,
        "timeNano": 1721736798123456789,
    },
    {
        "Type": "network",
        "Action": "connect",
        "Actor": {"ID": _id("d"), "Attributes": {}},
        "scope": "local",
        "time": 1721736799,
        "timeNano": 1721736799000000005,
    },
]
HISTORY = [
    {
        "Id": "sha256:" + _id("1"),
        "Created": NOW - 5 * HOUR - 5 * MINUTE,
        "CreatedBy": '/bin/sh -c #(nop)  CMD ["sh"] and a long text behind it here',
        "Tags": ["x:latest"],
        "Size": 0,
        "Comment": "",
    },
    {
        "Id": "<missing>",
        "Created": NOW - 400 * DAY,
        "CreatedBy": "/bin/sh -c #(nop) ADD\tfile:abc in / ",
        "Tags": None,
        "Size": 4261550,
        "Comment": "imported from -",
    },
]
DISK_USAGE = {
    "LayersSize": 109258800,
    "Images": [
        {**IMAGES[0], "SharedSize": 0, "Containers": 1},
        {**IMAGES[1], "SharedSize": 5, "Containers": 0},
    ],
    "Containers": CONTAINERS,
    "Volumes": [{"Name": "v1", "Driver": "local", "UsageData": {"RefCount": 1, "Size": 10920}}],
    "BuildCache": [
        {
            "ID": "abc",
            "Type": "regular",
            "InUse": False,
            "Shared": False,
            "Size": 51,
            "CreatedAt": "2024-07-23T12:13:18Z",
            "LastUsedAt": None,
            "UsageCount": 26,
        }
    ],
    "BuilderSize": 51,
}

TOP = {
    "Titles": ["UID", "PID", "CMD"],
    "Processes": [["root", "1", "sleep 1"], ["a-very-long-user-name", "12345", "sh -c x y"]],
}


def _sample(digit, name, total, memory_stats, **more):
    return {
        "read": "2026-01-02T03:04:06Z",
        "preread": "2026-01-02T03:04:05Z",
        "id": _id(digit),
        "name": f"/{name}",
        "pids_stats": {"current": 3},
        "cpu_stats": {
            "cpu_usage": {"total_usage": total},
            "system_cpu_usage": 5_000_000_000,
            "online_cpus": 2,
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000}, "system_cpu_usage": 3_000_000_000},
        "memory_stats": memory_stats,
        **more,
    }


_INTERFACE = {"rx_bytes": 12345678, "tx_bytes": 1500, "rx_packets": 1, "tx_packets": 2}
STATS_V1 = _sample(
    "a",
    "web",
    456_789_000,
    {"usage": 50_000_000, "limit": 1 << 30, "stats": {"total_inactive_file": 9_000_000, "inactive_file": 1}},
    networks={"eth0": _INTERFACE, "eth1": _INTERFACE},
    blkio_stats={
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 4096},
            {"major": 8, "minor": 0, "op": "Write", "value": 8_000_000},
            {"major": 8, "minor": 0, "op": "Total", "value": 8_004_096},
        ]
    },
)
STATS_V2 = _sample("c", "x", 900_000, {"usage": 5000, "limit": 0, "stats": {"inactive_file": 6000}})

DOCUMENTS = {
    "GET /containers/web/top": TOP,
    "GET /containers/web/stats": STATS_V1,
    "GET /containers/x/stats": STATS_V2,
    "GET /containers/" + "a" * 12 + "/stats": STATS_V1,
    "GET /containers/" + "b" * 12 + "/stats": {"name": "/db", "id": _id("b")} | _sample("b", "db", 0, {}),
    "GET /containers/" + "c" * 12 + "/stats": STATS_V2,
    "POST /containers/web/update": {"Warnings": ["first", "second"]},
    "POST /containers/x/update": {"Warnings": None},
    "POST /containers/web/pause": None,
    "POST /containers/web/unpause": None,
    "GET /containers/json": CONTAINERS,
    "GET /images/json": IMAGES,
    "GET /version": VERSION,
    "GET /info": INFO,
    "GET /networks": NETWORKS,
    "GET /networks/bridge": {**NETWORKS[0], "Options": {"a": "<b>"}},
    "GET /containers/web/json": WEB,
    "GET /images/x/history": HISTORY,
    "GET /system/df": DISK_USAGE,
    "POST /containers/prune": {"ContainersDeleted": [_id("b")], "SpaceReclaimed": 1234},
    "POST /images/prune": {
        "ImagesDeleted": [{"Untagged": "a:b"}, {"Deleted": "sha256:" + _id("1")}],
        "SpaceReclaimed": 5,
    },
    "DELETE /images/a": [{"Untagged": "a:latest"}, {"Deleted": "sha256:" + _id("1")}],
    "POST /auth": {"Status": "Login Succeeded", "IdentityToken": ""},
}
STREAMS = {"GET /events": [json.dumps(e).encode() + b"\n" for e in EVENTS]}

OUTPUTS = r"""
ps
ps -a --no-trunc
ps -q
ps -s
ps --format '{{.ID}} {{.Names}} {{.Label "a"}} {{upper .State}}'
ps --format 'table {{.ID}}\t{{.Names}}\t{{.Ports}}'
ps --format 'table {{.Names}}\t{{.Label "a"}}\t{{.Mounts}}\t{{.LocalVolumes}}'
ps --format json
ps --format '{{json .}}'
ps --format '{{.ID'
ps --filter foo
ps x
container ls
images
images --digests
images -q
images --no-trunc
images --format json
images --format '{{.Repository}}:{{.Tag}} {{.Digest}} {{.Size}}'
history x
history --no-trunc x
history -H=false x
history -q x
history --format json x
network ls
network ls --format json
network ls -q
network ls --no-trunc
network inspect bridge
events
events --format json
events --format '{{.Type}} {{.Actor.ID}}'
system df
system df -v
system df --format json
pause web nope
pause
unpause web
top web
top web -o pid,args
top nope
top
port web
port web 80
port web 80/tcp
port web 81
port web x
port nope
port web 80 81
stats --no-stream web x
stats --no-stream
stats --no-stream --no-trunc -a
stats --no-stream nope web
stats --no-stream --format json web
stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}' web x
stats --no-stream --format 'table {{.Container}}\t{{.ID}}\t{{.PIDs}}' web x
update -m 64m web x nope
update web
update --restart bogus:x web
update --restart on-failure:3 --cpus 0.5 --pids-limit -1 x
update --blkio-weight 70000 web
inspect web
inspect nope
inspect web nope
inspect -f json web
inspect -f '{{.Config.Env}} {{json .NetworkSettings.Ports}}' web
inspect -f '{{range $k, $v := .NetworkSettings.Ports}}{{$k}}={{(index $v 0).HostPort}}{{end}}' web
inspect -f '{{if eq .State.Status "running"}}up{{else}}down{{end}} {{len .Config.Env}}' web
inspect -f '{{printf "%s-%d" .Name 3}} {{index .Config.Labels "k"}} {{join .Config.Env ","}}' web
inspect
container inspect web zz
version --format '{{.Server.Version}}'
container prune -f
image prune -f
rmi a
rmi nope
rmi -f nope
tag a
stop
rm nope
rm -f nope
kill nope
logs nope
exec nope ls
exec a
start nope
wait nope
rename a
pull
pull a b
run
run --foo
run -x
run -p
run --memory=xx a
run --rm=maybe x
foo
container foo
load x
attach
"""

BODIES = r"""
create busybox
create -it --name a busybox sh -c 'echo hi'
create -e A=1 -e HOME -e NOPE --env-file @D/env -l a=b -l c --label-file @D/labels busybox
create -p 80 -p 8080:80 -p 127.0.0.1:8081:81/udp -p 9000-9002:9000-9002 -p [::1]:70:70 busybox
create -p 127.0.0.1::55 -p 7000-7005:70 busybox
create --publish target=80,published=8080,protocol=udp --expose 90 --expose 91-93/udp -P busybox
create -v /a:/b:ro -v /anon -v vol:/v -v ./rel:/r busybox
create --mount type=bind,src=/a,dst=/b,readonly --mount type=volume,source=v,target=/v,volume-nocopy busybox
create --mount type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770 busybox
create --mount type=volume,src=v,dst=/x,volume-driver=local,volume-opt=type=nfs,volume-label=a=b busybox
create --mount 'type=volume,dst=/x,"volume-opt=o=a,b"' busybox
create --tmpfs /run:size=5m --tmpfs /tmp --shm-size 1g --read-only busybox
create -m 512m --memory-swap -1 --memory-reservation 100k --memory-swappiness 5 --cpus 1.5 -c 512 busybox
create --cpu-period 1000 --cpu-quota 500 --cpuset-cpus 0,1 --cpuset-mems 0 --pids-limit 100 busybox
create --oom-kill-disable --oom-score-adj 100 --blkio-weight 300 --blkio-weight-device /dev/sda:100 busybox
create --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:10 busybox
create --ulimit nofile=10:20 --ulimit core=-1 --ulimit nproc=5 busybox
create --cap-add ALL --cap-drop NET_ADMIN --cap-drop chown --privileged busybox
create --security-opt no-new-privileges --security-opt seccomp=@D/seccomp.json busybox
create --security-opt systempaths=unconfined --security-opt label:disable busybox
create --device /dev/null --device /dev/a:/dev/b:r --device /dev/c:rw --device-cgroup-rule 'c 1:3 mr' busybox
create --gpus '"device=0,1",capabilities=utility' --device vendor.com/dev=foo busybox
create --gpus 2 busybox
create --network host busybox
create --network none --hostname h --domainname d busybox
create --network mynet --network-alias x --ip 1.2.3.4 --ip6 ::5 --link a:b busybox
create --network name=n1,alias=a,ip=1.2.3.4,driver-opt=k=v,gw-priority=3 --network n2 busybox
create --network bridge --mac-address 92:d0:c6:0a:29:33 busybox
create --link a:b --dns 1.1.1.1 --dns-search x --dns-option y --add-host a:1.2.3.4 --add-host b=::1 busybox
create --restart always --stop-signal SIGINT --stop-timeout 5 --init busybox
create --rm --log-driver json-file --log-opt max-size=1m --pid host --ipc host --uts host busybox
create --userns host --cgroupns private --cgroup-parent x --runtime runc busybox
create --health-cmd true --health-interval 5s --health-retries 3 --health-timeout 1m30s busybox
create --no-healthcheck busybox
create --entrypoint '' busybox
create --entrypoint /bin/sh -w /x -u 1:2 --group-add 5 busybox -c ls
create --annotation a=b --sysctl net.x=1 --storage-opt size=1G --volumes-from c busybox
create --platform linux/amd64 busybox
create -a stdin -a stdout busybox
run -d busybox true
run -a stderr --rm busybox true
create --restart always --rm busybox
create --no-healthcheck --health-cmd x busybox
create --restart foo:bar busybox
create -p 99999:80 busybox
create -p 1.2.3.400:80:80 busybox
create -p 80:80/foo busybox
create -p 80-81:80-85 busybox
create --expose foo busybox
create -e =x busybox
create --ulimit nofile=20:10 busybox
create --ulimit foo=1 busybox
create --device foo busybox
create --device /dev/x:/y:z busybox
create --add-host foo busybox
create --mount type=bind,foo busybox
create --mount type=bind,src=/a,dst=/b,foo=bar busybox
create --mount type=bind,src=/a busybox
create --network name=x,foo=y busybox
create --network a --network a busybox
create --network host --network b busybox
create --network '' busybox
create --env-file /nope busybox
create --security-opt foo busybox
create --security-opt seccomp=/nope busybox
create --memory 5x busybox
create --cpus 1.2.3 busybox
create --health-interval 5 busybox
create --pull foo busybox
create --cidfile /etc/passwd busybox
create -a foo busybox
create --gpus foo=1 busybox
create --storage-opt foo busybox
create --sysctl foo busybox
create --dns foo busybox
create --mac-address foo busybox
create --volume '' busybox
create --volume :/x busybox
create --platform foo/bar/baz/x busybox
run -d -a stdout busybox
run -it busybox
run nope-missing
"""
