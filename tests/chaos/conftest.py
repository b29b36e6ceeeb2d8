"""Tasks without an engine need a root file system of their own."""

from supervisor_harness import rootfs

__all__ = ["rootfs"]
