"""The value of `RUN --device=vendor/class=name[,required]` (Dockerfile reference, "RUN --device")."""

from __future__ import annotations

from corten.builder.booleans import parse_bool
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.fields import comma_fields
from corten.builder.graph import Device
from corten.errors import InvalidParameter


def parse_device(value: str) -> Device:
    """Parse one `--device` value. Variables have been substituted. Raises DockerfileError.

    >>> parse_device("vendor.com/gpu=0,required")
    Device(name='vendor.com/gpu=0', required=True)
    """
    name = ""
    required = False
    try:
        fields = comma_fields(value)
    except InvalidParameter as error:
        raise DockerfileError(f"failed to parse csv devices: {error}", located=False) from None
    for field in fields:
        key, equals, content = field.partition("=")
        if key.lower() == "required":
            flag = parse_bool(content) if equals else True
            if flag is None:
                raise DockerfileError(f"invalid value for {key}: {content}", located=False)
            required = flag
        elif key.lower() == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}", located=False)
            name = content
        elif not name:
            name = field
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'", located=False)
    if not name:
        raise DockerfileError("device name is required", located=False)
    return Device(name=name, required=required)
