"""Blobs: content named by its digest, verified while it is written.

On disk it owns::

    <root>/blobs/sha256/<64 hex>     complete, verified, never changed
    <root>/blobs/partial/<64 hex>    arriving, kept for a week to go on from
    <root>/tmp/blob-<random>         being written; swept at start

It knows files; which blobs are still wanted is the ledger's business.
"""

from corten.content.partial import PartialBlob, PartialBlobs
from corten.content.store import BlobStore, BlobWriter, SizeMismatch

__all__ = ["BlobStore", "BlobWriter", "PartialBlob", "PartialBlobs", "SizeMismatch"]
