"""Networks and addresses that plugins make: Docker's protocols NetworkDriver and IpamDriver.

calls    the calls, with their documents; they block
claims   what plugins may hold for us, in the ledger before they are asked

`corten.engine.network_plugins` does it in the right order, in threads.
"""
