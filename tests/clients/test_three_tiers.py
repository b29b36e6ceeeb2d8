"""An application as people run it: nginx, a Python program, postgres and redis, on two networks with aliases.

The programs are Debian's. The application outlives its engine, and its data moves to another one.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from debian import SERVERS, root_of

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))
POSTGRES = "/usr/lib/postgresql/15/bin"
DATABASE = f"""
if [ ! -s /data/pg/PG_VERSION ]; then
    {POSTGRES}/initdb -D /data/pg --no-sync --no-locale -A trust >/dev/null
    echo "host all all all trust" >>/data/pg/pg_hba.conf
fi
exec {POSTGRES}/postgres -D /data/pg -k /tmp -c listen_addresses='*' -c fsync=off
"""
PROGRAM = """
import http.server, psycopg2, redis
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        visits = redis.Redis("cache").incr("visits")
        with psycopg2.connect(host="database", user="postgres") as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS visits (path text)")
            cursor.execute("INSERT INTO visits VALUES (%s)", (self.path,))
            cursor.execute("SELECT count(*) FROM visits")
            (rows,) = cursor.fetchone()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{visits} visits, {rows} rows".encode())
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
WEB = """
mkdir -p /var/log/nginx /var/lib/nginx
cat >/tmp/nginx.conf <<'END'
daemon off; user www-data;
events {}
http { server { listen 80; location / { proxy_pass http://program:8000; } } }
END
exec nginx -c /tmp/nginx.conf
"""
ASK = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""


@pytest.fixture(scope="module")
def image() -> Path:
    return root_of(*SERVERS)


@pytest.fixture
def tiers(new_engine: Callable[..., Engine], image: Path) -> Iterator[Engine]:
    engine = new_engine()
    engine.run("docker", "import", str(image), "apps")
    engine.run("docker", "network", "create", "front")
    engine.run("docker", "network", "create", "--internal", "back")
    run = ("docker", "run", "-d")
    engine.run(*run, "--name", "db", "--network", "back", "--network-alias", "database", "-v", "rows:/data",
               "--user", "postgres", "apps", "sh", "-c", DATABASE)  # fmt: skip
    engine.run(*run, "--name", "redis", "--network", "back", "--network-alias", "cache", "apps",
               "redis-server", "--protected-mode", "no", "--save", "", "--dir", "/tmp")  # fmt: skip
    engine.run(*run, "--name", "app", "--network", "back", "apps", "python3", "-c", PROGRAM)
    engine.run("docker", "network", "connect", "--alias", "program", "front", "app")
    engine.run(*run, "--name", "web", "--network", "front", "-p", "8090:80", "apps", "sh", "-c", WEB)
    yield engine


def ask(engine: Engine) -> str:
    """What the application says; waited for, because its parts come up one by one."""
    deadline = time.monotonic() + 60
    while True:
        done = engine.run(sys.executable, "-c", ASK, "http://127.0.0.1:8090/", check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        if time.monotonic() > deadline:
            logs = [
                engine.run("docker", "logs", name).stderr[-2000:] for name in ("db", "redis", "app", "web")
            ]
            raise AssertionError("\n".join([done.stderr, *logs]))
        time.sleep(0.1)


def visits(text: str) -> tuple[int, int]:
    first, second = text.split(", ")
    return int(first.split()[0]), int(second.split()[0])


def test_outlives_its_engine_and_moves(
    tiers: Engine, new_engine: Callable[..., Engine], tmp_path: Path, image: Path
) -> None:
    first = visits(ask(tiers))
    assert visits(ask(tiers)) == (first[0] + 1, first[1] + 1)
    tiers.kill()
    assert visits(ask(tiers)) == (first[0] + 2, first[1] + 2)
    tiers.start()
    assert visits(ask(tiers)) == (first[0] + 3, first[1] + 3)
    assert tiers.run("docker", "exec", "web", "busybox", "nslookup", "database", check=False).returncode
    tiers.run("docker", "restart", "-t", "5", "db", "web")
    rows = visits(ask(tiers))[1]
    assert rows >= first[1] + 4
    saved = tmp_path / "rows.tar"
    tiers.run(CORTEN, "volume", "export", "-o", str(saved), "rows")
    other = new_engine()
    other.run("docker", "import", str(image), "apps")
    other.run(CORTEN, "volume", "import", "rows", str(saved))
    other.run(
        "docker",
        "run",
        "-d",
        "--name",
        "db",
        "-v",
        "rows:/data",
        "--user",
        "postgres",
        "apps",
        "sh",
        "-c",
        DATABASE,
    )
    count = (
        "docker",
        "exec",
        "db",
        f"{POSTGRES}/psql",
        "-h",
        "/tmp",
        "-U",
        "postgres",
        "-Atc",
        "SELECT count(*) FROM visits",
    )
    deadline = time.monotonic() + 60
    while (done := other.run(*count, check=False)).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert int(done.stdout) == rows
