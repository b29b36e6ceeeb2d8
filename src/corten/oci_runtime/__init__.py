"""`corten-oci`: the OCI runtime command line over the same code the engine uses (`corten.task`).

For podman (`--runtime`), containerd and whoever else drives runc. A container here has no supervisor:
its init is left to whoever called us (a subreaper such as conmon).

On disk, ROOT (default /run/corten-oci, 0700):
    <id>/state.json     pid, start time, bundle, cgroup, the document as it was at create
    <id>/start.sock     the gate at which a created container waits; gone once it has been started
"""
