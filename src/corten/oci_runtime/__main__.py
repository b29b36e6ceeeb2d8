"""Started by the launcher as a plain file under `-I -S`: only the standard library is on the path yet."""

import sys

if not __package__:
    sys.path.append(__file__.rpartition("/corten/oci_runtime/")[0])

from corten.oci_runtime.main import main

main()
