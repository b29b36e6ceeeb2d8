"""What the ledger keeps of a container.

Two documents: `ContainerRecord`, written when the container is made or renamed, and `StateRecord`, small and
written at every change of state. Times are nanoseconds since 1970, 0 = never.
"""

from __future__ import annotations

import msgspec

from corten.digest import Digest
from corten.engine.containers.userns import IdMaps
from corten.types.container import ContainerConfig, Health, HostConfig
from corten.types.network import EndpointSettings


class MountRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A mount of the container as decided at creation.

    kind: bind, volume, tmpfs, image. source: path on the host. name: of the volume, or the image's id.
    driver: of the volume. subpath: what of it is shown. data: tmpfs options; an image's layer directories.
    anonymous: the volume was made for this container and goes with it under `--rm` or `rm -v`.
    copy_up: an empty volume is filled with what the image has at the destination.
    id_mapped: the source's owner and the container's user are one inside.
    inner_ids: files there have the ids that they have inside, whatever the container's user namespace is.
    recursive_ro: False if only the top mount is to be read-only.
    """

    kind: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = "local"
    subpath: str = ""
    mode: str = ""
    read_only: bool = False
    propagation: str = ""
    data: list[str] = []
    anonymous: bool = False
    copy_up: bool = False
    recursive: bool = True
    recursive_ro: bool = True
    create_source: bool = False
    id_mapped: bool = False
    inner_ids: bool = False


class StateRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Where the container is in its life. `status` holds a `state.Status`.

    stopped_by_user: a stop or kill was asked for, which restart policies respect. backoff_s: how long the
    policy waited last.
    """

    status: str = "created"
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    thaw: bool = False  # paused by the engine for a moment; the next one lets it go on
    backoff_s: float = 0.0


class ContainerRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The container itself. `name` has no slash, `image_id` is sha256:..., config.image the name used.

    endpoints: the networks it is on while it runs; {} is the one of its network mode, or none at all if
    `networkless` (it has been disconnected from the last one).
    links: ids of other containers by the alias that this one knows them by.
    id_maps: of its user namespace; None = the host's. project: whose quota limits what it writes; 0 = none.
    """

    id: str
    name: str
    created_ns: int
    image_id: Digest
    config: ContainerConfig
    host_config: HostConfig
    mounts: list[MountRecord] = []
    endpoints: dict[str, EndpointSettings] = {}
    networkless: bool = False
    platform: str = "linux"
    links: dict[str, str] = {}
    id_maps: IdMaps | None = None
    project: int = 0


_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(ContainerRecord)
_state_decoder = msgspec.json.Decoder(StateRecord)
_health_decoder = msgspec.json.Decoder(Health)


def encode(record: ContainerRecord | StateRecord | Health) -> bytes:
    """As JSON for the ledger."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> ContainerRecord:
    """From the ledger. Raises msgspec.DecodeError."""
    return _record_decoder.decode(data)


def decode_state(data: bytes) -> StateRecord:
    """From the ledger. Raises msgspec.DecodeError."""
    return _state_decoder.decode(data)


def decode_health(data: bytes) -> Health:
    """From the ledger. Raises msgspec.DecodeError."""
    return _health_decoder.decode(data)
