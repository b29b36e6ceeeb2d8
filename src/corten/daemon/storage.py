"""daemon.json's `storage-opts`: how layers are kept, when to make room. Docker's own mean nothing here."""

from __future__ import annotations

import logging
import os

from corten.daemon.config import ConfigError, DaemonConfig
from corten.engine.watermark import Marks
from corten.snapshots.erofs.mounts import is_supported

log = logging.getLogger(__name__)

_LAYERS = "corten.layers"
_HIGH, _LOW = "corten.gc-high", "corten.gc-low"
_FORMS = ("extract", "erofs")


def storage_options(config: DaemonConfig) -> dict[str, str]:
    """The options that mean something here. Raises ConfigError."""
    found = {}
    for option in config.texts("storage-opts"):
        key, _, value = option.partition("=")
        if key in (_LAYERS, _HIGH, _LOW):
            found[key] = value
        elif key.startswith("corten."):
            raise ConfigError(f"unknown storage option {option}")
        else:
            log.warning("storage option has no effect", extra={"option": key})
    return found


def watermarks(options: dict[str, str]) -> Marks | None:
    """When to make room by itself; None: never. Raises ConfigError."""
    high, low = options.get(_HIGH), options.get(_LOW)
    if high is None:
        if low is not None:
            raise ConfigError(f"storage option {_LOW} needs {_HIGH}")
        return None
    top = _percent(_HIGH, high)
    bottom = _percent(_LOW, low) if low is not None else max(1, top - 10)
    if bottom >= top:
        raise ConfigError(f"storage option {_LOW} must be below {_HIGH}")
    return Marks(top, bottom)


def _percent(key: str, text: str) -> int:
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) < 100):
        raise ConfigError(f"invalid storage option {key}={text}: must be a percentage")
    return int(digits)


def layer_form(options: dict[str, str], root: str) -> str:
    """How new layers are kept: "extract" or "erofs", as asked for or else as this kernel can.

    Raises ConfigError if it cannot do what was asked for.
    """
    form = options.get(_LAYERS)
    if form not in (None, *_FORMS):
        raise ConfigError(f"invalid storage option {_LAYERS}={form}: must be {' or '.join(_FORMS)}")
    if form == "extract":
        return form
    os.makedirs(tmp := os.path.join(root, "tmp"), mode=0o700, exist_ok=True)
    if is_supported(tmp):
        return "erofs"
    if form is None:
        return "extract"
    raise ConfigError(
        f"storage option {_LAYERS}=erofs: this kernel cannot mount EROFS from files"
        " (Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE can)"
    )
