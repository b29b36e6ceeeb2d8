"""daemon.json's `storage-opts`: how layers are kept. Docker's own have no use here, which the log says."""

from __future__ import annotations

import logging
import os

from corten.daemon.config import ConfigError, DaemonConfig
from corten.snapshots.erofs.mounts import is_supported

log = logging.getLogger(__name__)

_LAYERS = "corten.layers"
_FORMS = ("extract", "erofs")


def layer_form(config: DaemonConfig) -> str:
    """How new layers are kept: "extract" or "erofs". Raises ConfigError if this kernel cannot."""
    form = _FORMS[0]
    for option in config.texts("storage-opts"):
        key, _, value = option.partition("=")
        if key != _LAYERS:
            log.warning("storage option has no effect", extra={"option": key})
        elif value not in _FORMS:
            raise ConfigError(f"invalid storage option {option}: must be {' or '.join(_FORMS)}")
        else:
            form = value
    if form == "erofs":
        os.makedirs(tmp := os.path.join(config.root, "tmp"), mode=0o700, exist_ok=True)
        if not is_supported(tmp):
            raise ConfigError(
                f"storage option {_LAYERS}=erofs: this kernel cannot mount EROFS from files"
                " (Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE can)"
            )
    return form
