"""What is done to build a container's root, one object per step.

Each operation says what it does (`describe()`, printed by `--explain` and in errors) and does it
(`apply(root)`). They run in the new mount namespace of the container's init, so undoing them is the
kernel's work: the namespace dies with the process.

Paths inside the container are resolved by the kernel below the root's fd (openat2(2) with
RESOLVE_IN_ROOT) and then used as /proc/self/fd/N: an image or a shared volume full of symlinks cannot
lead a mount out of the root. The /proc in use is the host's, until pivot_root.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from corten.task.operations.root import Root

    class Operation(Protocol):
        """One step; raises OSError."""

        def describe(self) -> str:
            """One line for people."""

        def apply(self, root: Root) -> None:
            """Do it."""
