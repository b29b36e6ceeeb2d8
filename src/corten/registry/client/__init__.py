"""The client side of the distribution protocol (distribution-spec 1.1 and Docker's token authentication).

Blocking, over http.client: meant for worker threads (DESIGN.md section 3: the fastest there is, and
hashing and inflating happen on the same data in the same thread).

`RegistryHosts` tells where to go, `RemoteRegistry` reads a repository, `PushTarget` writes one.
"""

from corten.registry.client.body import BytesBody, FileBody
from corten.registry.client.credentials import domain_of_server_address
from corten.registry.client.hosts import DEFAULT_DIRECTORIES, RegistryHosts
from corten.registry.client.proxies import Proxies
from corten.registry.client.remote import BlobStream, RemoteManifest, RemoteRegistry
from corten.registry.client.search import search
from corten.registry.client.trust import RegistryTrust
from corten.registry.client.upload import PushTarget

__all__ = [
    "DEFAULT_DIRECTORIES",
    "BlobStream",
    "BytesBody",
    "FileBody",
    "Proxies",
    "PushTarget",
    "RegistryHosts",
    "RegistryTrust",
    "RemoteManifest",
    "RemoteRegistry",
    "domain_of_server_address",
    "search",
]
