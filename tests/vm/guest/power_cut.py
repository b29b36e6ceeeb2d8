"""Check what an earlier machine left on /disk, then write until somebody pulls the plug.

power_cut.py <number of the last acknowledged entry, or -1> [--check-only]

Entry n is a blob, its row in the ledger, and a line `acknowledged n` once both are said to be safe.
Only the latest KEEP entries are kept; the others are deleted, row first.
"""

import hashlib
import itertools
import os
import sys

from corten.content.store import BlobStore
from corten.digest import Digest
from corten.metadata.ledger import Ledger

ROOT = "/disk/store"
KEEP = 30


def content(number: int) -> bytes:
    """The blob of entry `number`: 0 to 64 KiB."""
    seed = hashlib.sha256(b"%d" % number).digest()
    return seed * (int.from_bytes(seed[:2], "little") % 2048)


def digest_of(number: int) -> Digest:
    return Digest("sha256:" + hashlib.sha256(content(number)).hexdigest())


def check(ledger: Ledger, store: BlobStore, last: int) -> None:
    """Nothing acknowledged is lost, nothing half-written has a name, no row is without its blob."""
    assert [row[0] for row in ledger.query("PRAGMA integrity_check")] == ["ok"]
    rows = {row[0] for row in ledger.query("SELECT digest FROM blobs")}
    for number in range(max(0, last - KEEP + 1), last + 1):
        assert digest_of(number) in rows, f"row {number} was acknowledged and is gone"
    files = os.listdir(os.path.join(ROOT, "blobs", "sha256"))
    for name in files:
        with open(store.path(Digest(f"sha256:{name}")), "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == name, f"blob {name} is damaged"
    missing = rows - {f"sha256:{name}" for name in files}
    assert not missing, f"rows without blob: {missing}"
    unsynced = sum(entry.stat().st_size for entry in os.scandir("/disk") if entry.name.startswith("unsynced"))
    print("intact", len(rows), "rows", len(files), "files", "unsynced", unsynced, flush=True)


def write(ledger: Ledger, store: BlobStore, first: int) -> None:
    with open(f"/disk/unsynced-{first}", "xb") as file:
        file.write(bytes(1 << 20))  # never synced: to be lost, or the plug was not pulled
    for number in itertools.count(first):
        with store.writer() as writer:
            writer.write(content(number))
            digest = writer.commit()
        ledger.execute(
            "INSERT INTO blobs (digest, size, created_ns) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (digest, writer.written, number),
        )
        ledger.sync()
        print("acknowledged", number, flush=True)
        if number >= KEEP:
            old = digest_of(number - KEEP)
            ledger.execute("DELETE FROM blobs WHERE digest = ?", (old,))
            ledger.sync()
            store.delete(old)
        if number % 7 == 0:
            ledger.checkpoint()


def main() -> None:
    last = int(sys.argv[1])
    os.makedirs(ROOT, exist_ok=True)
    store, ledger = BlobStore(ROOT), Ledger(os.path.join(ROOT, "meta.db"))
    check(ledger, store, last)
    if "--check-only" not in sys.argv:
        write(ledger, store, last + 1)


main()
