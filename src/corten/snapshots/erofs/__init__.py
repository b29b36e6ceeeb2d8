"""Layers as EROFS: the tar as it came, and a small index that makes it a file system.

On disk a layer is a directory whose name ends in `.erofs`::

    layers/<first 24 hex>.erofs/
    ├── layer.tar      byte for byte what was hashed: writing it out again is a copy
    ├── index          EROFS metadata whose files point into layer.tar
    ├── sparse         contents of sparse files, whose pieces are not together in the tar (rare)
    └── tree/          where the index is mounted, file-backed, while somebody may need it

`tree` reads a tar's entries into a tree, with the same rules as `snapshots.extract`; `index` lays that out
as EROFS; `unpack` does both while the bytes pass; `mounts` mounts. Nothing of an archive is ever created as
a file: names, links and devices only become numbers in the index.

Needs Linux 6.12 (CONFIG_EROFS_FS_BACKED_BY_FILE). Format: fs/erofs/erofs_fs.h of Linux.
"""
