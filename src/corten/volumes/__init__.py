"""Named data that outlives containers.

Owns <root>/volumes/<name>/_data (the `local` driver) and the ledger's tables `volumes` and `volume_users`.
A volume is in use while a container has a row that names it. What a plain local volume is, is a directory;
others (options of the local driver) are mounted at `_data` while somebody holds them.
"""
