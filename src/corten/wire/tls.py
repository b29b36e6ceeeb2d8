"""How a server's certificate is checked: as Docker's clients do, by every one of ours and on every Python."""

from __future__ import annotations

import ssl
from collections.abc import Sequence


def client_context(
    roots: str | None = None,
    *,
    further_roots: Sequence[str] = (),
    certificates: Sequence[tuple[str, str]] = (),
    verify: bool = True,
) -> ssl.SSLContext:
    """What wraps a client's socket. Raises OSError (ssl.SSLError is one) for unusable files.

    roots: a file of authorities instead of the system's. further_roots: files of more of them.
    certificates: (certificate, key) files, to show who we are. verify: False accepts whoever answers.

    From Python 3.13 on its default is to refuse authorities without a key usage and certificates without the
    authority's key identifier (VERIFY_X509_STRICT, RFC 5280). Go's crypto/x509, and thus Docker, takes them,
    and by the openssl commands of Docker's own manual ("Protect the Docker daemon socket") one makes such.
    Until 3.12 its default is to refuse an authority among the roots that another one has signed
    (VERIFY_X509_PARTIAL_CHAIN); Go takes such, too.
    """
    context = ssl.create_default_context(cafile=roots)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for file in further_roots:
        context.load_verify_locations(file)
    for certificate, key in certificates:
        context.load_cert_chain(certificate, key)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
