"""SQLite in write-ahead mode: one writer on the event loop's thread, readers and checkpoints elsewhere.

A write costs 30 to 60 µs, because nothing is synced: after `kill -9` everything committed is there
(it is in the kernel's page cache); after a power cut the newest commits may be missing but never torn
(https://sqlite.org/pragma.html#pragma_synchronous, NORMAL). What has to survive a power cut before
it is acknowledged calls `sync()`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from corten.errors import InternalError
from corten.metadata.schema import MIGRATIONS

log = logging.getLogger(__name__)

Value: TypeAlias = str | bytes | int | float | None
Params: TypeAlias = Sequence[Value] | Mapping[str, Value]

# A WAL below this size is not worth the fsyncs of a checkpoint.
_CHECKPOINT_BYTES = 4 << 20
_CHECKPOINT_INTERVAL_S = 5.0


class Reader:
    """A read-only connection; may be used by one thread at a time, whichever made it."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row

    def query(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        return self._db.execute(sql, params).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class Ledger:
    """The one writer. All methods except `sync`, `checkpoint` and `reader` belong to the opening thread."""

    def __init__(self, path: str) -> None:
        """Open or create the file and bring its schema up to date. Raises InternalError if it is too new."""
        self.path = os.path.abspath(path)
        self._db = sqlite3.connect(self.path, isolation_level=None, cached_statements=512)
        self._db.row_factory = sqlite3.Row
        self._depth = 0
        self._checkpointer: _Checkpointer | None = None
        try:
            self._configure()
            self._migrate()
        except BaseException:
            self._db.close()
            raise

    def _configure(self) -> None:
        os.chmod(self.path, 0o600)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "wal_autocheckpoint = 0",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "busy_timeout = 5000",
        ):
            self._db.execute(f"PRAGMA {pragma}")

    def _migrate(self) -> None:
        have: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if have > len(MIGRATIONS):
            raise InternalError(
                f"{self.path} was written by a newer Corten (schema {have}, this one knows {len(MIGRATIONS)})"
            )
        for number, script in enumerate(MIGRATIONS[have:], start=have + 1):
            # executescript commits first, so the transaction has to be part of the script.
            self._db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
            log.info("ledger migrated", extra={"schema": number})

    def execute(self, sql: str, params: Params = ()) -> sqlite3.Cursor:
        """Run one statement; outside of `transaction()` it is committed at once."""
        return self._db.execute(sql, params)

    def executemany(self, sql: str, rows: Sequence[Params]) -> None:
        """Run one statement for many rows in one transaction."""
        with self.transaction():
            self._db.executemany(sql, rows)

    def query(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        return self._db.execute(sql, params).fetchall()

    def query_one(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        row: sqlite3.Row | None = self._db.execute(sql, params).fetchone()
        return row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside are committed together or not at all; an inner one joins the outer.

        Never await inside: the connection is shared by everything on the loop.
        """
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        else:
            self._db.execute("COMMIT")
        finally:
            self._depth = 0

    def reader(self) -> Reader:
        """A connection for another thread."""
        return Reader(self.path)

    def sync(self) -> None:
        """Put all that is committed on the disk (fsync of the -wal file). Blocks; any thread."""
        fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def checkpoint(self) -> None:
        """Move committed pages from the -wal file into the database. Blocks; any thread."""
        db = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            db.close()

    def start_checkpoints(self, interval_s: float = _CHECKPOINT_INTERVAL_S) -> None:
        """Checkpoint in a thread of its own whenever the -wal file has grown."""
        if self._checkpointer is None:
            self._checkpointer = _Checkpointer(self, interval_s)
            self._checkpointer.start()

    def close(self) -> None:
        """Stop checkpoints, move everything into the database file and close."""
        if self._checkpointer is not None:
            self._checkpointer.stop()
            self._checkpointer = None
        self._db.close()


class _Checkpointer(threading.Thread):
    def __init__(self, ledger: Ledger, interval_s: float) -> None:
        super().__init__(name="ledger-checkpoint", daemon=True)
        self._ledger = ledger
        self._interval_s = interval_s
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                if os.stat(f"{self._ledger.path}-wal").st_size >= _CHECKPOINT_BYTES:
                    self._ledger.checkpoint()
            except (OSError, sqlite3.Error) as e:
                log.warning("checkpoint failed", extra={"error": str(e)})
