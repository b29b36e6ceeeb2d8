"""The engine's services in Docker's nouns: containers, execs, images, networks, system, events.

Services hold caches of what is on disk (the ledger) and in the kernel (the supervisor), decide, and let
layers below do. They never touch the kernel's ABI, HTTP, or each other's state except through the small
Protocols at the top of the module that needs them; `corten.daemon.wiring` brings them together.
"""
