"""Which certificates are taken, of servers and of those who sign them."""

import ssl
import subprocess

import pytest

from corten.wire.tls import client_context


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority and a server, by the commands of Docker's manual: no key usage, no key identifiers.

    `crossed.pem` is the authority, too, as another one has signed it.
    """
    folder = tmp_path_factory.mktemp("pki")
    (folder / "ca.cnf").write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=CA:TRUE\n"
    )
    (folder / "extfile.cnf").write_text("subjectAltName=DNS:engine\nextendedKeyUsage=serverAuth\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-config", "ca.cnf", "-subj", "/CN=ca", "-days", "2", "-keyout", "ca-key.pem",
            "-out", "ca.pem")  # fmt: skip
    openssl(folder, "req", *key, "-subj", "/CN=engine", "-keyout", "server-key.pem", "-out", "server.csr")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "extfile.cnf", "-out", "server.pem")  # fmt: skip
    openssl(folder, "req", "-x509", *key, "-config", "ca.cnf", "-subj", "/CN=above", "-days", "2", "-keyout",
            "above-key.pem", "-out", "above.pem")  # fmt: skip
    openssl(folder, "req", "-new", "-key", "ca-key.pem", "-subj", "/CN=ca", "-out", "ca.csr")
    openssl(folder, "x509", "-req", "-in", "ca.csr", "-CA", "above.pem", "-CAkey", "above-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "ca.cnf", "-extensions", "ca", "-out", "crossed.pem")  # fmt: skip
    return folder


def shake_hands(client, pki, name):
    """Both sides in memory; raises what the client finds wrong."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki / "server.pem", pki / "server-key.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


def test_certificates_by_dockers_manual(pki):
    shake_hands(client_context(str(pki / "ca.pem")), pki, "engine")
    shake_hands(client_context(further_roots=[str(pki / "ca.pem")]), pki, "engine")


def test_an_authority_is_trusted_whoever_has_signed_it(pki):
    shake_hands(client_context(str(pki / "crossed.pem")), pki, "engine")


@pytest.mark.parametrize(("trusted", "name"), [(True, "another"), (False, "engine")])
def test_another_name_and_an_unknown_authority_are_refused(pki, trusted, name):
    context = client_context(str(pki / "ca.pem")) if trusted else client_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, pki, name)


def test_whoever_answers(pki):
    shake_hands(client_context(verify=False), pki, "another")
