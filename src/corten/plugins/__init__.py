"""Docker's plugin protocol: finding plugins that run on this machine, and calling them.

A plugin is a process with an HTTP socket. What it can do it says when it is activated: VolumeDriver,
NetworkDriver, authz, .... Source: Docker's "Plugin API" and "Use Docker Engine plugins" (legacy plugins).
"""
