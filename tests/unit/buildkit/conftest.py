"""Environments from before grpclib became a dependency still test everything else."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("grpclib") else ["test_*"]
