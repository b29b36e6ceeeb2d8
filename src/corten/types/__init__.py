"""Documents of the Engine API, newest version (1.51), as msgspec Structs.

One module per resource. Attribute names are Python's, JSON names Docker's; the order of the
fields is the order in which dockerd writes them. What older clients expect instead is known to
`corten.api.versions` alone. Types only: nothing here touches a file, a socket or the engine.

Null, `[]` and missing follow dockerd: see `corten.types.document`.
Source: Engine API 1.51 (specs/engine-api-v1.51.yaml).
"""
