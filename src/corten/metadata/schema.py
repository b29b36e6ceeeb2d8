"""The tables of the ledger, and how an older file becomes a newer one.

::

    blobs ◄────────────── image_layers ──► layers
    (digest) ◄─ attestations   │           (diff_id)
                               ▼
    names ────────────────► images ◄──────── containers ◄── endpoints ◄── port_bindings
    (docker.io/library/x:y) (id)  ▲ parent                      │
                               images                           ▼
    leases: keep (kind, key) until released                  networks
       ▲ build_cache   build_steps   build_mounts
    volumes ◄── volume_users     images ◄── image_mounts ──► containers ◄── container_health
    names ◄── indexes     layers ◄── remote_layers     images ◄── verified_images

What the drawing lacks is told where it is made: network_facts, network_claims, volume_removals.

References are foreign keys, so the store cannot delete what somebody uses: a blob or layer may go when
no image, child or lease names it; an image when no name, container, child or lease does. A *hidden*
image was deleted by force while a container used it; it is neither listed nor found by name, and goes
with its last container.

Times are nanoseconds since 1970 (CLOCK_REALTIME), sizes are bytes, `document` columns hold JSON whose
meaning belongs to the package that writes them.

The file's `user_version` counts the MIGRATIONS it has seen. A migration, once released, never changes.
"""

from __future__ import annotations

IMAGES = """
CREATE TABLE blobs (
    digest      TEXT PRIMARY KEY,              -- sha256:<hex>, also the file's name
    size        INTEGER NOT NULL,
    created_ns  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE layers (
    diff_id     TEXT PRIMARY KEY,              -- sha256 of the uncompressed tar
    directory   TEXT NOT NULL UNIQUE,          -- below <root>/layers
    size        INTEGER NOT NULL,              -- of the files' contents
    created_ns  INTEGER NOT NULL,
    boot_id     TEXT                           -- written in this boot and not yet synced; NULL: on disk
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    id               TEXT PRIMARY KEY,         -- digest of config
    config           BLOB NOT NULL,            -- the document, byte for byte
    manifest_digest  TEXT,
    manifest         BLOB,                     -- byte for byte, as it came from a registry or archive
    parent           TEXT REFERENCES images(id) ON DELETE SET NULL,
    size             INTEGER NOT NULL,
    created_ns       INTEGER NOT NULL,         -- when it came into this store
    tagged_ns        INTEGER,
    hidden           INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_parent ON images (parent);

CREATE TABLE image_layers (
    image_id    TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,              -- 0 is the lowest
    diff_id     TEXT NOT NULL REFERENCES layers(diff_id),
    blob        TEXT REFERENCES blobs(digest), -- the layer as it travelled; NULL: only the directory
    media_type  TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (diff_id);
CREATE INDEX image_layers_by_blob ON image_layers (blob);

CREATE TABLE names (
    name       TEXT PRIMARY KEY,               -- docker.io/library/busybox:latest or ...@sha256:<hex>
    image_id   TEXT NOT NULL REFERENCES images(id),
    tagged_ns  INTEGER NOT NULL                -- since when it names this image
) STRICT, WITHOUT ROWID;
CREATE INDEX names_by_image ON names (image_id);

CREATE TABLE leases (
    owner       TEXT NOT NULL,                 -- who holds it, e.g. build-cache:<key>
    kind        TEXT NOT NULL,                 -- image, layer or blob
    key         TEXT NOT NULL,                 -- id, diff id or digest
    created_ns  INTEGER NOT NULL,
    PRIMARY KEY (owner, kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_key ON leases (kind, key);
"""

CONTAINERS = """
CREATE TABLE containers (
    id           TEXT PRIMARY KEY,             -- 64 hex digits
    name         TEXT NOT NULL UNIQUE,         -- without the leading slash
    image_id     TEXT REFERENCES images(id),
    created_ns   INTEGER NOT NULL,
    status       TEXT NOT NULL,                -- created, running, paused, restarting, removing, exited, dead
    state        BLOB NOT NULL,                -- small: written at every change of state
    document     BLOB NOT NULL                 -- written at creation and rename
) STRICT, WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image_id);

CREATE TABLE volumes (
    name        TEXT PRIMARY KEY,
    driver      TEXT NOT NULL,
    created_ns  INTEGER NOT NULL,
    document    BLOB NOT NULL                  -- labels, options, anonymous
) STRICT, WITHOUT ROWID;

CREATE TABLE volume_users (
    volume        TEXT NOT NULL REFERENCES volumes(name),
    container_id  TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_users_by_container ON volume_users (container_id);
"""

NETWORKS = """
CREATE TABLE networks (
    id          TEXT PRIMARY KEY,              -- 64 hex digits
    name        TEXT NOT NULL UNIQUE,
    driver      TEXT NOT NULL,                 -- bridge, host, null
    created_ns  INTEGER NOT NULL,
    document    TEXT NOT NULL                  -- driver options, IPAM, labels
) STRICT;

-- One row per (container, network) from the container's start to its end.
CREATE TABLE endpoints (
    id            TEXT PRIMARY KEY,            -- 64 hex digits
    network_id    TEXT NOT NULL REFERENCES networks(id),
    container_id  TEXT NOT NULL,
    name          TEXT NOT NULL,               -- the container's name when it was attached
    host_ifname   TEXT NOT NULL DEFAULT '',    -- host end of the veth; '' until realised
    mac           TEXT NOT NULL DEFAULT '',
    ipv4          TEXT NOT NULL DEFAULT '',
    ipv6          TEXT NOT NULL DEFAULT '',
    UNIQUE (container_id, network_id)
) STRICT;

CREATE TABLE port_bindings (
    endpoint_id     TEXT NOT NULL REFERENCES endpoints(id) ON DELETE CASCADE,
    protocol        TEXT NOT NULL,             -- tcp, udp, sctp
    host_address    TEXT NOT NULL,             -- 0.0.0.0 is any
    host_port       INTEGER NOT NULL,
    container_port  INTEGER NOT NULL,
    PRIMARY KEY (protocol, host_address, host_port)
) STRICT, WITHOUT ROWID;
CREATE INDEX port_bindings_by_endpoint ON port_bindings (endpoint_id);

-- Facts about this boot that the kernel cannot tell us again (e.g. that we turned ip_forward on).
CREATE TABLE network_facts (
    key    TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT;
"""

BUILDER = """
-- A row of build_cache holds its layer by a lease (owner 'build-cache:<key>', kind 'layer', key diff_id);
-- the builder writes both in one transaction.
CREATE TABLE build_cache (
    key          TEXT PRIMARY KEY,             -- sha256:<hex> of the operation and of what it worked on
    diff_id      TEXT NOT NULL,                -- the layer it made
    created_ns   INTEGER NOT NULL,             -- when it was made; goes into images' history
    used_ns      INTEGER NOT NULL,
    uses         INTEGER NOT NULL,
    description  TEXT NOT NULL                 -- the instruction, for people
) STRICT, WITHOUT ROWID;
CREATE INDEX build_cache_by_layer ON build_cache (diff_id);

-- Ids that images would have had after an instruction: what lets a rebuild say "Using cache".
CREATE TABLE build_steps (
    image_id     TEXT PRIMARY KEY,
    used_ns      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Directories of RUN --mount=type=cache.
CREATE TABLE build_mounts (
    id           TEXT PRIMARY KEY,             -- as the Dockerfile names it, with its user and mode
    directory    TEXT NOT NULL UNIQUE,         -- below <root>/builder/mounts
    created_ns   INTEGER NOT NULL,
    used_ns      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

DEFERRED_BLOBS = """
-- As in layers: written in this boot and not yet synced; NULL: on disk.
ALTER TABLE blobs ADD COLUMN boot_id TEXT;
"""

IMAGE_MOUNTS = """
-- Images that containers show by --mount type=image.
CREATE TABLE image_mounts (
    image_id      TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    container_id  TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (image_id, container_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_mounts_by_container ON image_mounts (container_id);
"""

HEALTH = """
-- What the probes of a container found last; of its own, because it changes often.
CREATE TABLE container_health (
    container_id  TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE,
    document      BLOB NOT NULL                -- types.container.Health
) STRICT, WITHOUT ROWID;
"""

REMOTE_LAYERS = """
-- Where a layer is known to lie in a registry, and under which digest: what a push need not send.
CREATE TABLE remote_layers (
    diff_id      TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
    repository   TEXT NOT NULL,                -- docker.io/library/busybox
    digest       TEXT NOT NULL,
    size         INTEGER NOT NULL,
    media_type   TEXT NOT NULL,
    known_ns     INTEGER NOT NULL,
    PRIMARY KEY (diff_id, repository)
) STRICT, WITHOUT ROWID;
"""

ENDPOINTS_ON_NETWORKS = """
ALTER TABLE endpoints ADD COLUMN ifname TEXT NOT NULL DEFAULT 'eth0';     -- the interface inside
ALTER TABLE endpoints ADD COLUMN gw_priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN dns_names TEXT NOT NULL DEFAULT '';      -- separated by spaces
"""

INDEXES = """
-- The index of images for several platforms that a name stands for, byte for byte.
CREATE TABLE indexes (
    name        TEXT PRIMARY KEY REFERENCES names(name) ON DELETE CASCADE,
    digest      TEXT NOT NULL,
    media_type  TEXT NOT NULL,
    document    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_manifest ON images (manifest_digest);
"""

VERIFIED_IMAGES = """
-- Images that were pulled with a valid signature of a key (fingerprint: sha256 of the public key).
CREATE TABLE verified_images (
    image_id     TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    key          TEXT NOT NULL,
    PRIMARY KEY (image_id, key)
) STRICT, WITHOUT ROWID;
"""

PORT_MODES_AND_EGRESS = """
ALTER TABLE port_bindings ADD COLUMN mode TEXT NOT NULL DEFAULT 'nat';    -- or 'socket'
ALTER TABLE endpoints ADD COLUMN egress TEXT NOT NULL DEFAULT '';         -- what the container may reach
"""

NETWORK_CLAIMS = """
-- What network and IPAM plugins may hold for a network or an endpoint (network.plugged.claims).
CREATE TABLE network_claims (
    id        TEXT PRIMARY KEY,                -- the network's or the endpoint's
    document  TEXT NOT NULL
) STRICT;
"""

ATTESTATIONS = """
-- Manifests of attestations, and the blobs that each consists of (itself included). The key comes first:
-- quick_check of SQLite 3.40 finds a NULL in the column that would stand between its parts.
CREATE TABLE attestations (
    manifest  TEXT NOT NULL,
    blob      TEXT NOT NULL REFERENCES blobs(digest) ON DELETE CASCADE,
    subject   TEXT NOT NULL,                   -- the manifest of the image that it is about
    PRIMARY KEY (manifest, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX attestations_by_blob ON attestations (blob);
CREATE INDEX attestations_by_subject ON attestations (subject);
"""

VOLUME_REMOVALS = """
-- Volumes without a row that their plugin has been asked to remove, and has not answered yet.
CREATE TABLE volume_removals (
    name      TEXT PRIMARY KEY,
    driver    TEXT NOT NULL
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (
    IMAGES + CONTAINERS + NETWORKS + BUILDER,
    DEFERRED_BLOBS,
    IMAGE_MOUNTS,
    HEALTH,
    REMOTE_LAYERS,
    ENDPOINTS_ON_NETWORKS,
    INDEXES,
    VERIFIED_IMAGES,
    PORT_MODES_AND_EGRESS,
    NETWORK_CLAIMS,
    ATTESTATIONS,
    VOLUME_REMOVALS,
)
"""SQL scripts; entry n brings a file from user_version n to n + 1."""
