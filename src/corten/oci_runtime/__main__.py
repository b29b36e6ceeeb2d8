"""Entry point under `python -I -S <folder>`."""

import sys


def _run() -> None:
    folder = sys.path[0]
    sys.path[0] = folder.rsplit("/", 2)[0]
    from corten.oci_runtime import main

    main.main()


_run()
