"""The client side of the distribution protocol (distribution-spec 1.1 and Docker's token authentication).

Blocking, over http.client: meant for worker threads (DESIGN.md section 3: the fastest there is, and
hashing and inflating happen on the same data in the same thread).
"""

from corten.registry.client.credentials import domain_of_server_address
from corten.registry.client.remote import BlobStream, RemoteManifest, RemoteRegistry
from corten.registry.client.trust import RegistryTrust

__all__ = [
    "BlobStream",
    "RegistryTrust",
    "RemoteManifest",
    "RemoteRegistry",
    "domain_of_server_address",
]
