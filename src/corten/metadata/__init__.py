"""The ledger: what this engine intends to have, in one SQLite file.

On disk it owns::

    <root>/meta.db  meta.db-wal  meta.db-shm

Every directory, blob and kernel object of the engine belongs to a row here. The tables are drawn in
`corten.metadata.schema`. This package knows SQL and nothing of what the rows mean.
"""

from corten.metadata.gc import unreachable
from corten.metadata.ledger import Ledger, Reader

__all__ = ["Ledger", "Reader", "unreachable"]
