"""Blobs: content named by its digest, verified while it is written.

On disk it owns::

    <root>/blobs/sha256/<64 hex>     complete, verified, never changed
    <root>/tmp/blob-<random>         being written; swept at start

It knows files; which blobs are still wanted is the ledger's business.
"""

from corten.content.store import BlobStore, BlobWriter, SizeMismatch

__all__ = ["BlobStore", "BlobWriter", "SizeMismatch"]
