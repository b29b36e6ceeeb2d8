"""`corten-registry`: the registry as a process of its own."""

from __future__ import annotations

import logging
import os
import resource
import signal
import ssl
import sys
import threading
from collections.abc import Sequence

from corten.errors import CortenError
from corten.linux import crypt
from corten.registry.server.access import Access, Open, PasswordAccess, Users
from corten.registry.server.application import Application
from corten.registry.server.config import ConfigError, RegistryConfig, load
from corten.registry.server.engine_images import EngineImages
from corten.registry.server.http import Server
from corten.registry.server.parts import Parts
from corten.registry.server.store import Store
from corten.registry.server.tokens import PublicKeys, SharedSecret, TokenAccess
from corten.registry.server.upstreams import Upstreams
from corten.registry.server.webhooks import Webhooks

log = logging.getLogger("corten.registry")


class Registry:
    """One registry, put together and listening from `start` to `close`."""

    def __init__(self, config: RegistryConfig) -> None:
        """Raises ConfigError, CortenError (the root is in use), OSError."""
        self._config = config
        self._store = Store(config.root, grace_s=config.gc_grace)
        try:
            if config.engine_root:
                self._store.engine = EngineImages(config.engine_root, self._store.storage)
            upstreams = Upstreams(self._store, config.upstreams, fresh_s=config.fresh)
            self._parts = Parts(
                store=self._store,
                upstreams=upstreams if config.upstreams else None,
                webhooks=Webhooks(config.webhooks) if config.webhooks else None,
                read_only=config.read_only,
                deletes=not config.no_delete,
            )
            access = _access(config)
            self._tls = _tls(config)
            self._server = Server(Application(self._parts, access, log_requests=config.log_requests))
        except BaseException:
            self._store.close()
            raise
        self._stopping = threading.Event()
        self._collector = threading.Thread(target=self._collect, name="collect", daemon=True)

    def start(self) -> list[int]:
        """Listen; returns the ports. Raises OSError."""
        ports = [self._server.listen(host, port, self._tls) for host, port in self._config.listen]
        if self._config.gc_interval > 0:
            self._collector.start()
        return ports

    def close(self) -> None:
        """Let running requests end, then end."""
        self._stopping.set()
        self._server.close()
        if self._parts.webhooks is not None:
            self._parts.webhooks.close()
        if self._collector.is_alive():
            self._collector.join()
        if self._store.engine is not None:
            self._store.engine.close()
        self._store.close()

    def _collect(self) -> None:
        while not self._stopping.wait(self._config.gc_interval):
            try:
                gone = self._store.collect(untagged=self._config.delete_untagged)
            except Exception:  # a full disk, a damaged database: the next round may do better
                log.exception("collection failed")
                continue
            if any(gone.values()):
                log.info("collected %s", ", ".join(f"{n} {what}" for what, n in gone.items()))


def _access(config: RegistryConfig) -> Access:
    if not config.htpasswd and not config.token_keys:
        return Open()
    users = None
    if config.htpasswd:
        if not crypt.is_available():
            raise ConfigError("this machine has no libcrypt that can check passwords (package libcrypt1)")
        users = Users(config.htpasswd)
    if users is not None and config.auth == "basic":
        return PasswordAccess(users, anonymous_pull=config.anonymous_pull)
    return TokenAccess(
        PublicKeys(config.token_keys)
        if config.token_keys
        else SharedSecret(os.path.join(config.root, "secret")),
        realm=config.token_realm,
        service=config.token_service,
        issuer=config.token_issuer,
        users=users,
        anonymous_pull=config.anonymous_pull,
    )


def _tls(config: RegistryConfig) -> ssl.SSLContext | None:
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.tls_cert, config.tls_key)
    if config.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(config.tls_client_ca)
    return context


def main() -> int:
    """The whole life of the process `corten-registry`; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    os.umask(0o077)
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    signals = {signal.SIGTERM, signal.SIGINT}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        config = load(arguments)
        # Before any thread starts, so that only the main thread gets them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        registry = Registry(config)
        ports = registry.start()
    except (CortenError, OSError, ValueError) as e:
        print(f"corten-registry: {e}", file=sys.stderr)
        return 1
    for (host, _), port in zip(config.listen, ports, strict=True):
        log.info("serving on %s:%d", host or "*", port)
    signal.sigwait(signals)
    registry.close()
    return 0
