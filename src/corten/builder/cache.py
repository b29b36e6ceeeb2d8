"""The build cache: from the name of a piece of work to the layer it made, in the ledger.

A key names an operation and what it worked on, by content: the layers of the root, the digest of what is
copied. A layer may be under several keys (a COPY --from is under one with the other stage's layers, which
is quick to make, and under one with the content of what it copies, which other stages may share).
Each row holds its layer by a lease. Tables: `build_cache`, `build_steps` in `corten.metadata.schema`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corten.builder.image import Layer
from corten.digest import Digest
from corten.metadata import Ledger
from corten.soon import Soon

_STEPS_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A piece of work, for `prune` and `du`: its first key, and the others. Times in ns since 1970."""

    key: str
    others: tuple[str, ...] = ()
    diff_id: Digest
    created_ns: int
    used_ns: int
    uses: int
    size: int
    description: str


class BuildCache:
    """Looks up and keeps results of work. Event loop's thread only.

    `has_grown`: something was added since whoever asks has reset it.
    """

    has_grown = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._uses: list[tuple[int, str]] = []
        self._coming: dict[str, tuple[Layer, str]] = {}
        self._soon = Soon(self.write)

    def find(self, keys: Sequence[str]) -> Layer | None:
        """The layer under the first of the keys that has one which is still there."""
        for key in keys:
            layer = self._get(key)
            if layer is not None:
                self._uses.append((time.time_ns(), key))
                return layer
        return None

    def _get(self, key: str) -> Layer | None:
        if key in self._coming:
            return self._coming[key][0]
        row = self._ledger.query_one(
            "SELECT c.diff_id, c.created_ns, l.diff_id IS NULL AS lost"
            " FROM build_cache c LEFT JOIN layers l USING (diff_id) WHERE key = ?",
            (key,),
        )
        if row is None:
            return None
        if row["lost"]:
            self.remove(key)
            return None
        return Layer(row["diff_id"], row["created_ns"])

    def note_uses(self) -> None:
        """Write down what `find` has found: all at once, as each by itself costs more."""
        self.write()
        if self._uses:
            uses, self._uses = self._uses, []
            self._ledger.executemany(
                "UPDATE build_cache SET used_ns = ?, uses = uses + 1 WHERE key = ?", uses
            )

    def write(self) -> None:
        """Write down what has been added, if that has not been done yet."""
        if self._coming:
            with self._ledger.transaction():
                for key, (layer, description) in [*self._coming.items()]:
                    self.add([key], layer, description)

    def keys_of(self, layer: Layer) -> list[str]:
        """All names of the work that made a layer (others may have made the same one at another time)."""
        self.write()
        rows = self._ledger.query(
            "SELECT key FROM build_cache WHERE diff_id = ? AND created_ns = ?",
            (layer.diff_id, layer.created_ns),
        )
        return [row["key"] for row in rows]

    def add(self, keys: Sequence[str], layer: Layer, description: str) -> None:
        """Keep a layer under keys; what was there is replaced."""
        self.has_grown = True
        now = time.time_ns()
        with self._ledger.transaction():
            for key in keys:
                self.remove(key)
                self._ledger.execute(
                    "INSERT INTO build_cache (key, diff_id, created_ns, used_ns, uses, description)"
                    " VALUES (?, ?, ?, ?, 1, ?)",
                    (key, layer.diff_id, layer.created_ns, now, description),
                )
                self._ledger.execute(
                    "INSERT INTO leases (owner, kind, key, created_ns) VALUES (?, 'layer', ?, ?)",
                    (_owner(key), layer.diff_id, now),
                )

    def add_soon(self, keys: Sequence[str], layer: Layer, description: str) -> None:
        """As `add`; `find` knows it at once. Until it has been written down (`write`) the caller holds it."""
        self._coming.update(dict.fromkeys(keys, (layer, description)))
        self._soon.ask()

    def remove(self, key: str) -> None:
        """Forget a key; the layer goes when nothing else holds it."""
        self._coming.pop(key, None)
        with self._ledger.transaction():
            self._ledger.execute("DELETE FROM leases WHERE owner = ?", (_owner(key),))
            self._ledger.execute("DELETE FROM build_cache WHERE key = ?", (key,))

    def remove_all(self, keys: Iterable[str]) -> None:
        """Forget keys, all in one transaction."""
        with self._ledger.transaction():
            for key in keys:
                self.remove(key)

    def entries(self) -> list[CacheEntry]:
        """All that is known, the longest unused first."""
        self.note_uses()
        rows = self._ledger.query(
            "SELECT group_concat(key, ' ') AS keys, diff_id, c.created_ns, max(used_ns) AS used_ns,"
            " max(uses) AS uses, l.size, description FROM build_cache c JOIN layers l USING (diff_id)"
            " GROUP BY diff_id, c.created_ns, description ORDER BY max(used_ns)"
        )
        found = []
        for row in rows:
            key, *others = sorted(row["keys"].split(" "))
            found.append(
                CacheEntry(
                    key=key,
                    others=tuple(others),
                    diff_id=row["diff_id"],
                    created_ns=row["created_ns"],
                    used_ns=row["used_ns"],
                    uses=row["uses"],
                    size=row["size"],
                    description=row["description"],
                )
            )
        return found

    def size(self) -> int:
        """Bytes of all layers that are held and that no image has, each counted once."""
        self.write()
        row = self._ledger.query_one(
            "SELECT coalesce(sum(size), 0) AS size FROM layers"
            " WHERE diff_id IN (SELECT diff_id FROM build_cache)"
            " AND diff_id NOT IN (SELECT diff_id FROM image_layers)"
        )
        assert row is not None
        return int(row["size"])

    def layers_of_images(self) -> set[str]:
        """The diff ids that images have."""
        return {row["diff_id"] for row in self._ledger.query("SELECT DISTINCT diff_id FROM image_layers")}

    def seen(self, image_id: str) -> bool:
        """Whether a build has come by this (would-be) image before; remembers it from now on."""
        cursor = self._ledger.execute(
            "UPDATE build_steps SET used_ns = ? WHERE image_id = ?", (time.time_ns(), image_id)
        )
        if cursor.rowcount:
            return True
        self._ledger.execute(
            "INSERT INTO build_steps (image_id, used_ns) VALUES (?, ?)", (image_id, time.time_ns())
        )
        return False

    def forget_old_steps(self) -> None:
        """Keep the newest of what `seen` remembers."""
        self._ledger.execute(
            "DELETE FROM build_steps WHERE image_id IN"
            " (SELECT image_id FROM build_steps ORDER BY used_ns DESC LIMIT -1 OFFSET ?)",
            (_STEPS_KEPT,),
        )


def _owner(key: str) -> str:
    return f"build-cache:{key}"
