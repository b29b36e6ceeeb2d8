"""Named data that outlives containers: the `local` driver.

Owns <root>/volumes/<name>/_data and the ledger's tables `volumes` and `volume_users`. A volume is in use
while a container has a row that names it. Anonymous volumes have 64 hex digits for a name.
"""
