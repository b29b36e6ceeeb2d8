"""daemon.json's `signature-policy`, read and checked at the start."""

from __future__ import annotations

from corten.daemon.config import ConfigError, DaemonConfig
from corten.errors import InvalidParameter
from corten.images.policy import Rule, SignaturePolicy

_KEY = "signature-policy"


def signature_policy(config: DaemonConfig) -> SignaturePolicy:
    """The rules. Raises ConfigError: a policy that cannot be read must not become none."""
    document = config.settings.get(_KEY, {})
    if not isinstance(document, dict):
        raise ConfigError(f"{_KEY} must be an object")
    return SignaturePolicy(tuple(_rule(str(prefix), entry) for prefix, entry in document.items()))


def _rule(prefix: str, entry: object) -> Rule:
    if not isinstance(entry, dict) or set(entry) - {"keys", "allow"}:
        raise ConfigError(f'{_KEY} of "{prefix}" must be an object with "keys" or "allow"')
    if entry.get("allow") is True and "keys" not in entry:
        return Rule(prefix=prefix.rstrip("/"))
    paths = entry.get("keys")
    if not isinstance(paths, list) or not paths:
        raise ConfigError(f'{_KEY} of "{prefix}" names no keys')
    from corten.signatures.keys import PublicKey  # and cryptography: 200 ms, for those who have a policy

    keys = []
    for path in paths:
        try:
            with open(str(path), encoding="utf-8") as file:
                keys.append(PublicKey(file.read()))
        except (OSError, ValueError, InvalidParameter) as e:
            raise ConfigError(f"{_KEY}: cannot read key {path}: {e}") from e
    return Rule(prefix=prefix.rstrip("/"), keys=tuple(keys))
