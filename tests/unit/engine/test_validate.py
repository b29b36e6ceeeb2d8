import os

import pytest

from corten.engine.containers.config import command_line, merge_env, merge_image
from corten.engine.containers.logconfig import file_settings, validate_log_config
from corten.engine.containers.signals import parse_signal
from corten.engine.containers.validate import parse_cpu_list, validate, validate_name
from corten.errors import InvalidParameter, NotSupported
from corten.oci.image import ImageConfig
from corten.types.container import ContainerConfig, HostConfig, LogConfig, RestartPolicy, Ulimit

CPUS = os.cpu_count()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"memory": 6 * 1024}, "Minimum memory limit allowed is 6MB"),
        ({"memory": 8 << 20, "memory_swap": 7 << 20}, "Minimum memoryswap limit should be larger"),
        ({"memory_swap": 1 << 30}, "You should always set the Memory limit when using Memoryswap limit"),
        ({"memory_swappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"nano_cpus": 10**12}, f"Range of CPUs is from 0.01 to {CPUS}.00, as there are only {CPUS} CPUs"),
        ({"nano_cpus": 1, "cpu_period": 1000}, "Nano CPUs and CPU Period cannot both be set"),
        ({"nano_cpus": 1, "cpu_quota": 1000}, "Nano CPUs and CPU Quota cannot both be set"),
        ({"cpu_period": 5}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_quota": 5}, "CPU cfs quota can not be less than 1ms"),
        ({"cpuset_cpus": "a"}, "Invalid value a for cpuset cpus"),
        ({"cpuset_cpus": "4000"}, "Requested CPUs are not available - requested 4000, available: "),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"oom_score_adj": 1001}, "Invalid value 1001, range for oom score adj is"),
        ({"shm_size": -1}, "SHM size can not be less than 0"),
        ({"ipc_mode": "x"}, "invalid IPC mode: x"),
        ({"pid_mode": "x"}, "invalid PID mode: x"),
        ({"uts_mode": "x"}, "invalid UTS mode: x"),
        (
            {"restart_policy": RestartPolicy(name="maybe")},
            "unknown policy 'maybe'; use one of 'no', 'always'",
        ),
        (
            {"restart_policy": RestartPolicy(name="always", maximum_retry_count=1)},
            "maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"restart_policy": RestartPolicy(name="always"), "auto_remove": True},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"port_bindings": {"99999/tcp": None}}, "invalid port specification"),
        ({"port_bindings": {"80/foo": None}}, "invalid proto: foo"),
        ({"extra_hosts": ["x"]}, 'bad format for add-host: "x"'),
        ({"sysctls": {"vm.swappiness": "1"}}, "sysctl 'vm.swappiness' is not allowed"),
        ({"network_mode": "host", "sysctls": {"net.x": "1"}}, "not allowed in host network namespace"),
        (
            {"network_mode": "container:x", "port_bindings": {"80/tcp": None}},
            "conflicting options: port publishing and the container type network mode",
        ),
        ({"device_cgroup_rules": ["c 1:x rwm"]}, "invalid device cgroup rule format: 'c 1:x rwm'"),
        ({"ulimits": [Ulimit(name="nope")]}, "invalid ulimit type: nope"),
    ],
)
def test_host_config_that_cannot_be(host, text):
    with pytest.raises(InvalidParameter, match=text.replace("(", r"\(").replace("[", r"\[")):
        validate(ContainerConfig(), HostConfig(**host))


@pytest.mark.parametrize(
    ("config", "host", "text"),
    [
        ({"working_dir": "x"}, {}, "the working directory 'x' is invalid, it needs to be an absolute path"),
        ({"env": ["=x"]}, {}, "invalid environment variable: =x"),
        ({"hostname": "h"}, {"uts_mode": "host"}, "conflicting options: hostname and the UTS mode"),
        ({"hostname": "h"}, {"network_mode": "container:x"}, "hostname and the network mode"),
    ],
)
def test_config_that_cannot_be(config, host, text):
    with pytest.raises(InvalidParameter, match=text):
        validate(ContainerConfig(**config), HostConfig(**host))


def test_what_docker_only_warns_of():
    host = HostConfig(network_mode="host", port_bindings={"80/tcp": None}, oom_kill_disable=True)
    assert len(validate(ContainerConfig(), host)) == 2


@pytest.mark.parametrize("name", ["x", "", "-x", "a b", "a/b", "ü1"])
def test_bad_names(name):
    with pytest.raises(InvalidParameter, match="only .* are allowed"):
        validate_name(name)


def test_good_names():
    assert validate_name("/web_1.2-x") == "web_1.2-x"


def test_cpu_lists():
    assert parse_cpu_list("0-2,7") == {0, 1, 2, 7}
    assert all(parse_cpu_list(text) is None for text in ("", "2-1", "1-", "0-99999999", "x"))


@pytest.mark.parametrize(
    ("request_", "image", "expected"),
    [
        ((None, None), (["ie"], ["ic"]), ("ie", ["ic"])),
        ((None, ["c"]), (["ie"], ["ic"]), ("ie", ["c"])),
        ((["e"], None), (["ie"], ["ic"]), ("e", [])),
        (([""], ["c"]), (["ie"], ["ic"]), ("c", [])),
        ((["e"], ["c"]), (None, None), ("e", ["c"])),
    ],
)
def test_entrypoint_and_command(request_, image, expected):
    config = ContainerConfig(entrypoint=request_[0], cmd=request_[1])
    merged = merge_image(config, ImageConfig(entrypoint=image[0], cmd=image[1]))
    assert command_line(merged) == expected


def test_nothing_to_run():
    with pytest.raises(InvalidParameter, match="no command specified"):
        merge_image(ContainerConfig(), ImageConfig())


def test_image_defaults():
    image = ImageConfig(cmd=["x"], env=["A=1", "B=2"], user="u", labels={"l": "i"}, volumes={"/v": {}})
    merged = merge_image(ContainerConfig(env=["B=3", "A"], labels={"m": "c"}), image)
    assert merged.env == ["B=3", "A"]  # A goes when the process gets its environment
    assert (merged.user, merged.labels, list(merged.volumes)) == ("u", {"l": "i", "m": "c"}, ["/v"])


def test_environment_keeps_its_order():
    assert merge_env(["A=1", "B=2"], ["A=3", "C=4"]) == ["A=3", "B=2", "C=4"]


def test_signals():
    assert [parse_signal(text) for text in ("KILL", "sigterm", "9", "RTMIN+3", "SIGRTMAX-1")] == [
        9,
        15,
        9,
        37,
        63,
    ]
    for bad in ("", "NOPE", "0", "RTMIN+99", "9" * 5000):
        with pytest.raises(InvalidParameter, match="invalid signal: "):
            parse_signal(bad)
    for number in (65, -1):
        with pytest.raises(InvalidParameter, match=f"the linux daemon does not support signal {number}"):
            parse_signal(str(number))


def test_log_options():
    assert file_settings("json-file", {}) == (20 << 20, 5, 0, False)
    assert file_settings("local", {"max-size": "10m", "max-age": "1h"}) == (10_000_000, 5, 3600, True)
    assert file_settings("local", {"max-file": "1"}) == (20 << 20, 1, 0, False)
    with pytest.raises(InvalidParameter, match="compress cannot be true"):
        file_settings("json-file", {"max-file": "1", "compress": "true"})
    with pytest.raises(InvalidParameter, match="unknown log opt 'x' for json-file log driver"):
        validate_log_config(LogConfig(type="json-file", config={"x": "1"}))
    with pytest.raises(InvalidParameter, match=r'plugin "foo" not found'):
        validate_log_config(LogConfig(type="foo"))
    with pytest.raises(NotSupported):
        validate_log_config(LogConfig(type="splunk"))
