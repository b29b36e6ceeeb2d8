"""A registry: the OCI distribution specification 1.1 over a directory, and over an engine's images.

::

    http ──► application ──► access            who may do what (htpasswd, tokens)
    (thread per client)  ├─► pulling, pushing, listing    one function per operation of the specification
                         └─► storage           blobs as files, uploads
                             catalogue         repositories, manifests, tags: SQLite
                             engine_images     what an engine has, read where it lies
                             upstreams         what other registries have, kept on the way

On disk it owns::

    <root>/registry.db                    the catalogue
    <root>/blobs/{sha256,sha512}/<hex>    verified content
    <root>/uploads/<id>                   being pushed; may be continued after a restart
    <root>/secret                         key of the tokens that we issue ourselves

Content of an engine on the same file system is linked, never copied. The process stands by itself: it opens
the engine's ledger read-only and needs no running engine.
"""
