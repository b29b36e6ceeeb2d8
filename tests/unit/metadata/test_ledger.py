import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from corten.errors import InternalError
from corten.metadata import Ledger
from corten.metadata.schema import MIGRATIONS


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    yield ledger
    ledger.close()


def put_blob(ledger, name):
    ledger.execute("INSERT INTO blobs (digest, size, created_ns) VALUES (?, 1, 2)", (name,))


def blobs(ledger):
    return [row["digest"] for row in ledger.query("SELECT digest FROM blobs ORDER BY digest")]


def test_failed_transaction_leaves_nothing(ledger):
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        put_blob(ledger, "a")
        with ledger.transaction():
            put_blob(ledger, "b")
        raise ZeroDivisionError
    assert blobs(ledger) == []
    with ledger.transaction():
        put_blob(ledger, "c")
    assert blobs(ledger) == ["c"]


def test_foreign_keys_hold(ledger):
    with pytest.raises(sqlite3.IntegrityError):
        ledger.execute("INSERT INTO names VALUES ('x', 'no such image', 0)")


def test_readers_in_threads_see_what_is_committed(ledger):
    put_blob(ledger, "a")
    seen = []

    def read():
        reader = ledger.reader()
        seen.extend(r["digest"] for r in reader.query("SELECT digest FROM blobs"))
        with pytest.raises(sqlite3.OperationalError):
            reader.query("DELETE FROM blobs")
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert seen == ["a"]


def test_committed_rows_survive_kill(tmp_path):
    path = str(tmp_path / "meta.db")
    code = (
        "import os, sys; from corten.metadata import Ledger; l = Ledger(sys.argv[1]);"
        "l.execute(\"INSERT INTO blobs (digest, size, created_ns) VALUES ('x', 1, 2)\");"
        "os.kill(os.getpid(), 9)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert result.returncode == -9
    ledger = Ledger(path)
    assert blobs(ledger) == ["x"]
    ledger.close()


def test_checkpoint_empties_the_log_into_the_file(ledger):
    put_blob(ledger, "a")
    ledger.sync()
    before = os.stat(ledger.path).st_size
    ledger.checkpoint()
    assert os.stat(ledger.path).st_size > before


def test_newer_file_is_refused(tmp_path):
    path = str(tmp_path / "meta.db")
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(InternalError, match="newer Corten"):
        Ledger(path)


def test_opening_again_keeps_everything(tmp_path):
    path = str(tmp_path / "meta.db")
    first = Ledger(path)
    put_blob(first, "a")
    first.close()
    second = Ledger(path)
    assert blobs(second) == ["a"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    second.close()
