"""How daemon.json says registries are to be reached."""

from __future__ import annotations

import os

from corten.daemon.config import ConfigError, DaemonConfig
from corten.daemon.policy import signature_policy
from corten.errors import InvalidParameter
from corten.images.transfer import TransferSettings
from corten.registry.client import DEFAULT_DIRECTORIES, Proxies, RegistryHosts, RegistryTrust

_LIMITS = {"max-concurrent-downloads": 3, "max-concurrent-uploads": 5, "max-download-attempts": 5}


def transfer_settings(config: DaemonConfig) -> TransferSettings:
    """Everything a pull or push needs to know. Raises ConfigError."""
    limits = {key: _positive(config, key, default) for key, default in _LIMITS.items()}
    try:
        hosts = RegistryHosts(
            trust=RegistryTrust(config.texts("insecure-registries")),
            mirrors=config.texts("registry-mirrors"),
            proxies=Proxies(proxy_settings(config), os.environ),
            directories=config.texts("registry-config-path") or DEFAULT_DIRECTORIES,
            offline=config.flag("offline"),
        )
    except InvalidParameter as e:
        raise ConfigError(str(e)) from e
    return TransferSettings(
        hosts=hosts,
        downloads=limits["max-concurrent-downloads"],
        uploads=limits["max-concurrent-uploads"],
        attempts=limits["max-download-attempts"],
        signatures=signature_policy(config),
    )


def proxy_settings(config: DaemonConfig) -> dict[str, str]:
    """http-proxy, https-proxy and no-proxy, as flags or in daemon.json's `proxies`."""
    from_file = config.mapping("proxies")
    return {
        key: config.text(key) or from_file.get(key, "") for key in ("http-proxy", "https-proxy", "no-proxy")
    }


def _positive(config: DaemonConfig, key: str, default: int) -> int:
    number = config.number(key, default)
    if number < 0 or (number == 0 and key == "max-download-attempts"):
        raise ConfigError(f"invalid {key.replace('-', ' ')}: {number}")
    return number or default
