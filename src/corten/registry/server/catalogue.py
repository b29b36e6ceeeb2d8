"""What the registry holds: repositories, their manifests, tags and blobs. Any thread.

::

    repositories ◄── tags ──► manifests ──► children ──► blobs or manifests
         ▲                        subject: what a referrer (signature, SBOM) is about
         └── links ──► blobs      a blob may be read in the repositories that it was pushed to

Every change is one transaction and on the disk before it is acknowledged (synchronous=FULL).
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from corten.digest import Digest
from corten.registry.server.errors import WouldWait

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    digest      TEXT PRIMARY KEY,
    size        INTEGER NOT NULL,
    touched_ns  INTEGER NOT NULL               -- when somebody last counted on it: see gc
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS links (
    repository  TEXT NOT NULL,
    digest      TEXT NOT NULL REFERENCES blobs(digest) ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_by_digest ON links (digest);

CREATE TABLE IF NOT EXISTS manifests (
    repository     TEXT NOT NULL,
    digest         TEXT NOT NULL,
    media_type     TEXT NOT NULL,
    raw            BLOB NOT NULL,
    subject        TEXT,                       -- digest, if it is a referrer
    artifact_type  TEXT NOT NULL DEFAULT '',
    annotations    TEXT NOT NULL DEFAULT '',   -- JSON object, for the list of referrers
    created_ns     INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject);

CREATE TABLE IF NOT EXISTS children (
    repository  TEXT NOT NULL,
    parent      TEXT NOT NULL,
    digest      TEXT NOT NULL,
    PRIMARY KEY (repository, parent, digest),
    FOREIGN KEY (repository, parent) REFERENCES manifests(repository, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS children_by_digest ON children (digest);

CREATE TABLE IF NOT EXISTS tags (
    repository  TEXT NOT NULL,
    tag         TEXT NOT NULL,
    digest      TEXT NOT NULL,
    updated_ns  INTEGER NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, digest) REFERENCES manifests(repository, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository, digest);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest or index, byte for byte. subject: what it refers to; children: what it needs to exist."""

    digest: Digest
    media_type: str
    raw: bytes
    subject: str | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    children: tuple[Digest, ...] = ()


class Catalogue:
    """The database at `path`; one connection, which threads take turns with, and one for those in a hurry."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "busy_timeout = 5000",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._read_lock = threading.Lock()
        self.writes = 0
        """How often something has been written: while it stays the same, so does every answer."""
        self._conclusions: list[Callable[[], None]] = []
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._reader.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close the database."""
        with self._read_lock:
            self._reader.close()
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are made together or not at all; other threads wait."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        self._written()

    def _rows(self, sql: str, *parameters: object) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, parameters).fetchall()

    def _row(self, sql: str, *parameters: object) -> Any:
        with self._lock:
            return self._db.execute(sql, parameters).fetchone()

    def _run(self, sql: str, *parameters: object) -> int:
        with self._lock:
            count = self._db.execute(sql, parameters).rowcount
        self._written()
        return count

    def when_written(self, forget: Callable[[], None]) -> None:
        """Have `forget` called after each change, so that nothing is kept on account of what was."""
        self._conclusions.append(forget)

    def _written(self) -> None:
        with self._read_lock:
            self.writes += 1
        for forget in self._conclusions:
            forget()

    # -- blobs ----------------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Size of a blob that this repository has."""
        row = self._row(
            "SELECT size FROM links JOIN blobs USING (digest) WHERE repository = ? AND digest = ?",
            repository,
            digest,
        )
        return row[0] if row else None

    def add_blob(self, repository: str, digest: Digest, size: int) -> None:
        """Record a blob whose file is in place."""
        with self.transaction():
            self._run(
                "INSERT INTO blobs VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET size = excluded.size, touched_ns = excluded.touched_ns",
                digest,
                size,
                time.time_ns(),
            )
            self._run("INSERT OR IGNORE INTO links VALUES (?, ?)", repository, digest)

    def use_blob(
        self, repository: str, digest: Digest, older_than_ns: int, *, may_wait: bool = True
    ) -> int | None:
        """As `blob_size` for somebody who counts on the blob: it is kept for a further grace period.

        Rarely writes (raises WouldWait instead, if it may not wait), and does not wait for those who do.
        """
        with self._read_lock:
            row = self._reader.execute(
                "SELECT size, touched_ns FROM links JOIN blobs USING (digest)"
                " WHERE repository = ? AND digest = ?",
                (repository, digest),
            ).fetchone()
        if row is None:
            return None
        size: int = row[0]
        if row[1] < time.time_ns() - older_than_ns:
            if not may_wait:
                raise WouldWait
            self._run("UPDATE blobs SET touched_ns = ? WHERE digest = ?", time.time_ns(), digest)
        return size

    def unlink_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob out of a repository; False if it was not there. Its file goes with collection."""
        return self._run("DELETE FROM links WHERE repository = ? AND digest = ?", repository, digest) > 0

    def all_blobs(self) -> dict[str, int]:
        """Size by digest."""
        return dict(self._rows("SELECT digest, size FROM blobs"))

    def forget_blobs(self, digests: Iterable[str]) -> None:
        """Drop rows of blobs whose files are gone."""
        with self.transaction():
            for digest in digests:
                self._run("DELETE FROM blobs WHERE digest = ?", digest)

    def take_garbage(self, before_ns: int) -> list[Digest]:
        """Drop the rows of blobs that no manifest needs and nobody touched since; returns them."""
        with self.transaction():
            rows = self._rows(
                "SELECT digest FROM blobs WHERE touched_ns < ? AND NOT EXISTS"
                " (SELECT 1 FROM children WHERE children.digest = blobs.digest)",
                before_ns,
            )
            for (digest,) in rows:
                self._run("DELETE FROM blobs WHERE digest = ?", digest)
        return [digest for (digest,) in rows]

    # -- manifests ------------------------------------------------------------------------------

    def put_manifest(self, repository: str, manifest: StoredManifest, tag: str | None) -> None:
        """Store a manifest and point a tag at it."""
        now = time.time_ns()
        with self.transaction():
            self._run(
                "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET media_type = excluded.media_type",
                repository, manifest.digest, manifest.media_type, manifest.raw, manifest.subject,
                manifest.artifact_type, json.dumps(manifest.annotations), now,
            )  # fmt: skip
            for child in manifest.children:
                self._run(
                    "INSERT OR IGNORE INTO children VALUES (?, ?, ?)", repository, manifest.digest, child
                )
            if tag is not None:
                self._run(
                    "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET digest = excluded.digest, updated_ns = excluded.updated_ns",
                    repository, tag, manifest.digest, now,
                )  # fmt: skip

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """The manifest under a tag or digest."""
        digest = reference
        if ":" not in reference:
            row = self._row("SELECT digest FROM tags WHERE repository = ? AND tag = ?", repository, reference)
            if row is None:
                return None
            digest = row[0]
        row = self._row(
            "SELECT digest, media_type, raw, subject, artifact_type, annotations FROM manifests"
            " WHERE repository = ? AND digest = ?",
            repository,
            digest,
        )
        return _manifest(row) if row else None

    def tag_age_ns(self, repository: str, tag: str) -> int | None:
        """How long ago the tag was put where it points; None if there is none."""
        row = self._row("SELECT updated_ns FROM tags WHERE repository = ? AND tag = ?", repository, tag)
        return time.time_ns() - row[0] if row else None

    def parents(self, repository: str, digest: Digest) -> list[bytes]:
        """The manifests that name a blob or manifest, as they are."""
        rows = self._rows(
            "SELECT raw FROM children JOIN manifests m ON m.repository = children.repository"
            " AND m.digest = children.parent WHERE children.repository = ? AND children.digest = ?",
            repository,
            digest,
        )
        return [raw for (raw,) in rows]

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether the repository has it."""
        return (
            self._row("SELECT 1 FROM manifests WHERE repository = ? AND digest = ?", repository, digest)
            is not None
        )

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Remove a manifest with its tags; False if there was none."""
        return self._run("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository, digest) > 0

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Remove a tag; False if there was none."""
        return self._run("DELETE FROM tags WHERE repository = ? AND tag = ?", repository, tag) > 0

    def referrers(self, repository: str, subject: str) -> list[StoredManifest]:
        """The manifests about `subject`, oldest first."""
        rows = self._rows(
            "SELECT digest, media_type, raw, subject, artifact_type, annotations FROM manifests"
            " WHERE repository = ? AND subject = ? ORDER BY created_ns, digest",
            repository,
            subject,
        )
        return [_manifest(row) for row in rows]

    def delete_untagged(self, before_ns: int) -> int:
        """Remove older manifests that no tag, index or living subject leads to; returns how many."""
        with self._lock:
            total = 0
            while count := self._run(
                "DELETE FROM manifests AS m WHERE created_ns < ?"
                " AND NOT EXISTS (SELECT 1 FROM tags t"
                "   WHERE t.repository = m.repository AND t.digest = m.digest)"
                " AND NOT EXISTS (SELECT 1 FROM children c"
                "   WHERE c.repository = m.repository AND c.digest = m.digest)"
                " AND NOT EXISTS (SELECT 1 FROM manifests s"
                "   WHERE s.repository = m.repository AND s.digest = m.subject)",
                before_ns,
            ):
                total += count
            return total

    # -- lists ----------------------------------------------------------------------------------

    def tags(self, repository: str) -> list[str] | None:
        """All tags in lexical order; None if there is no such repository."""
        rows = self._rows("SELECT tag FROM tags WHERE repository = ? ORDER BY tag", repository)
        if not rows and not self.has_repository(repository):
            return None
        return [tag for (tag,) in rows]

    def has_repository(self, repository: str) -> bool:
        """Whether anything was ever put there and is still there."""
        row = self._row(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM manifests WHERE repository = ?)"
            " OR EXISTS (SELECT 1 FROM links WHERE repository = ?)",
            repository,
            repository,
        )
        return row is not None

    def repositories(self) -> list[str]:
        """Those with manifests, in lexical order."""
        return [r for (r,) in self._rows("SELECT DISTINCT repository FROM manifests ORDER BY repository")]

    def tag_summaries(self, repository: str) -> list[tuple[str, StoredManifest, int]]:
        """(tag, manifest, time of change in ns) in lexical order, for people."""
        rows = self._rows(
            "SELECT tag, updated_ns, m.digest, media_type, raw, subject, artifact_type, annotations"
            " FROM tags JOIN manifests m USING (repository, digest) WHERE repository = ? ORDER BY tag",
            repository,
        )
        return [(row[0], _manifest(row[2:]), row[1]) for row in rows]

    def totals(self) -> dict[str, int]:
        """Counts and bytes, for metrics."""
        row = self._row(
            "SELECT (SELECT count(*) FROM blobs), (SELECT coalesce(sum(size), 0) FROM blobs),"
            " (SELECT count(*) FROM manifests), (SELECT count(*) FROM tags),"
            " (SELECT count(DISTINCT repository) FROM manifests)"
        )
        return dict(zip(("blobs", "blob_bytes", "manifests", "tags", "repositories"), row, strict=True))


def _manifest(row: Any) -> StoredManifest:
    digest, media_type, raw, subject, artifact_type, annotations = row
    return StoredManifest(
        digest=digest,
        media_type=media_type,
        raw=raw,
        subject=subject,
        artifact_type=artifact_type,
        annotations=json.loads(annotations) if annotations else {},
    )
