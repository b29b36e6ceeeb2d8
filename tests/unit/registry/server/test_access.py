"""Who gets in: passwords, tokens, TLS."""

import base64
import hmac
import http.client
import json
import ssl
import subprocess
import threading
import time
from urllib.parse import quote

import pytest

from corten.linux.crypt import password_matches
from corten.registry.server.config import ConfigError, configured
from corten.registry.server.tokens import SharedSecret


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\nalice:{bcrypt('secret')}\n")
    return str(path)


def bcrypt(password):
    import ctypes

    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), b"$2y$04$abcdefghijklmnopqrstuu").decode()


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_secret_that_a_crash_cut_short_is_made_again(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"")
    token = SharedSecret(str(path)).sign({"sub": "alice"})
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=")
    assert raw != hmac.digest(b"", signed.encode(), "sha256")
    assert SharedSecret(str(path)).verify("HS256", raw, signed.encode())
    assert (len(path.read_bytes()), path.stat().st_mode & 0o777) == (32, 0o600)


def test_hashes():
    assert password_matches("secret", bcrypt("secret"))
    assert not password_matches("other", bcrypt("secret"))
    for nonsense in ("", "x", "$2y$", "$2y$04$short", "secret"):
        assert not password_matches("secret", nonsense)


class TestPasswords:
    def test_without_one_nobody_gets_in(self, new_registry, users):
        registry = new_registry(htpasswd=users)
        status, headers, _ = registry("GET", "/v2/")
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Corten registry"')
        for method, path in (("GET", "/v2/_catalog"), ("POST", "/v2/a/blobs/uploads/"), ("GET", "/")):
            assert registry(method, path)[0] == 401

    def test_with_the_right_one(self, new_registry, users):
        registry = new_registry(htpasswd=users)
        for _ in range(2):
            assert registry("GET", "/v2/", None, basic("alice", "secret"))[0] == 200
        assert registry("POST", "/v2/a/blobs/uploads/", None, basic("alice", "secret"))[0] == 202

    @pytest.mark.parametrize(
        "headers",
        [basic("alice", "wrong"), basic("bob", "secret"), basic("", ""), {"Authorization": "Basic !!"},
         {"Authorization": "Basic"}, {"Authorization": "Bearer x"}],
    )  # fmt: skip
    def test_with_a_wrong_one(self, new_registry, users, headers):
        assert new_registry(htpasswd=users).error("GET", "/v2/", None, headers) == (401, "UNAUTHORIZED")

    def test_one_that_was_right_takes_no_thread_to_check_again(self, new_registry, users, monkeypatch):
        registry = new_registry(htpasswd=users)
        digest = registry.push_blob("a", b"data", basic("alice", "secret"))

        def no_room(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", no_room)
        blob = f"/v2/a/blobs/{digest}"
        assert registry("GET", blob, None, basic("alice", "secret"))[2] == b"data"
        with pytest.raises((OSError, http.client.HTTPException)):
            registry("GET", blob, None, basic("alice", "wrong"))

    def test_what_one_user_got_another_does_not(self, new_registry, users):
        registry = new_registry(htpasswd=users)
        blob = f"/v2/a/blobs/{registry.push_blob('a', b'data', basic('alice', 'secret'))}"
        for _ in range(2):
            assert registry("GET", blob, None, basic("alice", "secret"))[2] == b"data"
            assert registry("GET", blob)[0] == 401

    def test_the_file_is_read_again(self, new_registry, users):
        registry = new_registry(htpasswd=users)
        assert registry("GET", "/v2/", None, basic("alice", "secret"))[0] == 200
        with open(users, "w") as f:
            f.write(f"bob:{bcrypt('hello')}\n")
        assert registry("GET", "/v2/", None, basic("alice", "secret"))[0] == 401
        assert registry("GET", "/v2/", None, basic("bob", "hello"))[0] == 200

    def test_anonymous_pulls(self, new_registry, users):
        registry = new_registry(htpasswd=users, anonymous_pull=True)
        assert registry("GET", "/v2/a/manifests/x")[0] == 404
        assert registry("GET", "/v2/")[0] == 401  # so that clients with a password send it
        assert registry("PUT", "/v2/a/manifests/x", b"{}")[0] == 401

    def test_other_hashes_are_refused_at_start(self, new_registry, tmp_path):
        path = tmp_path / "bad"
        path.write_text("alice:{SHA}xxx\n")
        with pytest.raises(ValueError, match="not a bcrypt entry"):
            new_registry(htpasswd=str(path))


class TestTokens:
    def challenge(self, registry, *request):
        status, headers, _ = registry(*request)
        assert status == 401
        return headers["WWW-Authenticate"]

    def bearer(self, registry, scope, credentials=None):
        path = f"/token?service=corten-registry&scope={quote(scope)}"
        status, _, body = registry("GET", path, None, credentials or basic("alice", "secret"))
        assert status == 200
        return {"Authorization": f"Bearer {json.loads(body)['token']}"}

    def test_the_challenge_says_where_and_what(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token")
        here = f'Bearer realm="http://{registry.host}/token",service="corten-registry"'
        assert self.challenge(registry, "GET", "/v2/") == here
        assert self.challenge(registry, "GET", "/v2/a/b/tags/list") == f'{here},scope="repository:a/b:pull"'
        pushing = self.challenge(registry, "POST", "/v2/a/b/blobs/uploads/")
        assert pushing == f'{here},scope="repository:a/b:pull,push"'

    def test_a_token_opens_what_it_is_for(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token")
        token = self.bearer(registry, "repository:a:pull,push")
        assert registry("GET", "/v2/", None, token)[0] == 200
        assert registry("POST", "/v2/a/blobs/uploads/", None, token)[0] == 202
        assert registry("POST", "/v2/b/blobs/uploads/", None, token)[0] == 401
        assert "insufficient_scope" in self.challenge(registry, "DELETE", "/v2/a/manifests/x", None, token)

    def test_mounting_needs_the_right_to_pull_there(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token")
        data = b"private"
        digest = registry.push_blob("hidden", data, self.bearer(registry, "repository:hidden:pull,push"))
        path = f"/v2/mine/blobs/uploads/?mount={digest}&from=hidden"
        assert registry("POST", path, None, self.bearer(registry, "repository:mine:pull,push"))[0] == 202
        both = self.bearer(registry, "repository:mine:pull,push repository:hidden:pull")
        assert registry("POST", path, None, both)[0] == 201

    def test_passwords_are_asked_for(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token")
        assert registry("GET", "/token?scope=repository:a:pull")[0] == 401
        assert registry("GET", "/token", None, basic("alice", "wrong"))[0] == 401

    def test_strangers_may_pull_if_told_so(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token", anonymous_pull=True)
        _, _, body = registry("GET", "/token?scope=repository:a:pull,push,delete")
        token = {"Authorization": f"Bearer {json.loads(body)['token']}"}
        assert registry("GET", "/v2/a/tags/list", None, token)[0] == 404
        assert registry("POST", "/v2/a/blobs/uploads/", None, token)[0] == 401

    def test_forged_tokens(self, new_registry, users):
        registry = new_registry(htpasswd=users, auth="token")
        token = self.bearer(registry, "repository:a:pull")["Authorization"][7:]
        header, claims, signature = token.split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        more = json.loads(base64.urlsafe_b64decode(claims + "=="))
        more["access"][0]["actions"] = ["*"]
        forged = base64.urlsafe_b64encode(json.dumps(more).encode()).decode().rstrip("=")
        for text in (f"{none}.{claims}.", f"{header}.{forged}.{signature}", f"{header}.{claims}.", "a.b.c", "..",
                     f"{header}.{claims}.{'A' * 43}", "x" * 100_000):  # fmt: skip
            assert registry("GET", "/v2/", None, {"Authorization": f"Bearer {text[:60_000]}"})[0] in (
                401,
                431,
            )

    def test_tokens_end(self, new_registry, users, monkeypatch):
        registry = new_registry(htpasswd=users, auth="token")
        token = self.bearer(registry, "repository:a:pull")
        later = time.time() + 400
        monkeypatch.setattr(time, "time", lambda: later)
        assert registry("GET", "/v2/", None, token)[0] == 401

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
    def test_another_server_s_tokens(self, new_registry, tmp_path, algorithm):
        key, sign = keypair(algorithm)
        path = tmp_path / "keys.pem"
        path.write_bytes(key)
        registry = new_registry(auth="token", token_keys=str(path), token_realm="https://auth/token",
                                token_issuer="them")  # fmt: skip
        claims = {"iss": "them", "aud": ["corten-registry"], "exp": time.time() + 60,
                  "access": [{"type": "repository", "name": "a", "actions": ["pull"]}]}  # fmt: skip
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                 for part in ({"alg": algorithm, "typ": "JWT"}, claims)]  # fmt: skip
        signed = b".".join(parts)
        token = signed + b"." + base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")
        assert registry("GET", "/v2/a/tags/list", None, {"Authorization": b"Bearer " + token})[0] == 404
        assert registry("GET", "/v2/", None, {"Authorization": b"Bearer " + token[:-4] + b"AAAA"})[0] == 401


def keypair(algorithm):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if algorithm == "RS256":
        private = rsa.generate_private_key(65537, 2048)
        sign = lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256())  # noqa: E731
    elif algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())

        def sign(data):
            r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        private = ed25519.Ed25519PrivateKey.generate()
        sign = private.sign
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), sign


def test_tls(new_registry, tmp_path):
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=certificate)
    registry = new_registry(context=context, tls_cert=certificate, tls_key=key)
    data = bytes(3 << 20)
    digest = registry.push_blob("a", data)
    assert registry("GET", f"/v2/a/blobs/{digest}")[2] == data


@pytest.mark.parametrize(
    "settings",
    [{"tls_cert": "x"}, {"auth": "token"}, {"token_keys": "x"}, {"anonymous_pull": True}, {"listen": ["x:y"]},
     {"upstream": ["a=ftp://x"]}, {"upstream": ["A=http://x"]}, {"upstream": ["http://x/path"]},
     {"upstream": ["http://x", "http://y"]}, {"webhook": ["x"]}, {"nonsense": 1}, {"root": 1},
     {"upstreams": [{"url": "http://x", "typo": 1}]}, {"webhooks": [{"url": "http://x", "actions": ["eat"]}]}],
)  # fmt: skip
def test_bad_configurations(settings):
    with pytest.raises(ConfigError):
        configured(settings)
