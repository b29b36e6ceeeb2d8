"""What `corten-oci` tells when it cannot do as asked."""


class RuntimeFailure(Exception):
    """The message goes to stderr and to --log; the exit code is 1."""
