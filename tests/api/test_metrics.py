"""What Prometheus reads."""

import json
import re
from pathlib import Path

import pytest
from calls import IMAGE, Api, load_image

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+-]+|\+Inf)')


def _scrape(engine):
    """{(name, labels): value}; every line is looked at."""
    found, families = {}, {}
    for line in engine.run("curl", "-sf", "http://127.0.0.1:9323/metrics").stdout.splitlines():
        if line.startswith("# "):
            _, word, name, text = line.split(" ", 3)
            families.setdefault(name, {})[word] = text
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        family = re.sub("_(bucket|sum|count)$", "", match[1])
        assert {"HELP", "TYPE"} == set(families.get(match[1]) or families[family]), line
        found[match[1], match[2] or ""] = float(match[3])
    return found


@pytest.fixture
def measured(new_engine):
    engine = new_engine({"metrics-addr": "127.0.0.1:9323"})
    load_image(engine)
    return engine


def test_what_happened_is_counted(measured):
    before = _scrape(measured)
    assert before["engine_daemon_container_states_containers", 'state="running"'] == 0
    api = Api(measured)
    identifier = api.start(
        "sleep", "1000", Healthcheck={"Test": ["CMD", "sh", "-c", "exit 1"], "Interval": 50_000_000}
    )
    measured.run("docker", "run", "--rm", IMAGE, "sh", "-c", ":")
    while not _scrape(measured)["engine_daemon_health_checks_failed_total", ""]:
        pass
    after = _scrape(measured)
    for action, count in (("create", 2), ("start", 2), ("delete", 1)):
        assert after["engine_daemon_container_actions_seconds_count", f'action="{action}"'] == count
        name = "engine_daemon_container_actions_seconds_bucket"
        assert after[name, f'action="{action}",le="+Inf"'] == count
    assert after["engine_daemon_container_states_containers", 'state="running"'] == 1
    assert after["corten_events_total", 'type="container",action="start"'] == 2
    assert after["engine_daemon_events_total", ""] > before["engine_daemon_events_total", ""]
    assert after["engine_daemon_health_checks_total", ""] >= 1
    assert after["corten_images", ""] == 1
    info = next(labels for name, labels in after if name == "engine_daemon_engine_info")
    assert json.loads(measured.request("GET", "/info")[1])["ID"] in info
    api.remove(identifier)


def test_builds_are_counted_with_why_they_failed(measured):
    def build(text):
        measured.run("sh", "-c", f"printf '{text}' | DOCKER_BUILDKIT=0 docker build -q -", check=False)

    build(f"FROM {IMAGE}\\n")
    build(f"FROM {IMAGE}\\nRUN false\\n")
    build("FORM x\\n")
    found = _scrape(measured)
    assert found["builder_builds_triggered_total", ""] == 3
    assert found["builder_builds_failed_total", 'reason="error_processing_commands_error"'] == 1
    assert found["builder_builds_failed_total", 'reason="dockerfile_syntax_error"'] == 1


def test_the_page_and_no_other(measured):
    def status(path, *arguments):
        command = ["curl", "-so", "/dev/null", "-w", "%{http_code}", *arguments]
        return measured.run(*command, f"http://127.0.0.1:9323{path}").stdout

    assert status("/metrics") == "200"
    assert status("/metrics", "-X", "POST") == "405"
    assert status("/containers/json") == "404"
    assert status("/") == "404"
    for line in _documented():
        assert line in measured.run("curl", "-s", "http://127.0.0.1:9323/metrics").stdout, line


def _documented():
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([a-z_]+)`", row)]
