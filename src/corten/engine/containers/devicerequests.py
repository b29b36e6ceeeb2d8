"""`--gpus` and `--device vendor/class=name`: devices asked for by name, found in CDI descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from corten.builder.graph import Device
from corten.engine.cdi import Descriptions, find_devices
from corten.engine.containers.record import ContainerRecord
from corten.errors import InvalidParameter
from corten.types.container import DeviceRequest

_ALL = "all"
_CDI = "cdi"


Hooks = Mapping[str, Sequence[Mapping[str, object]]]


def with_requested_devices(
    record: ContainerRecord, directories: Sequence[str]
) -> tuple[ContainerRecord, Hooks]:
    """The record with what its device requests add, and the hooks they bring. Raises InvalidParameter."""
    requests = record.host_config.device_requests
    if not requests:
        return record, {}
    known = Descriptions(directories)
    names = [name for request in requests for name in _names(request, known)]
    edits = find_devices([Device(name=name, required=True) for name in names], directories, hooks=True)
    config, host_config = record.config, record.host_config
    record = msgspec.structs.replace(
        record,
        config=msgspec.structs.replace(config, env=[*(config.env or ()), *edits.env]),
        host_config=msgspec.structs.replace(
            host_config,
            devices=[*(host_config.devices or ()), *edits.nodes],
            group_add=[*(host_config.group_add or ()), *edits.groups],
        ),
        mounts=[*record.mounts, *edits.mounts],
    )
    return record, edits.hooks


def _names(request: DeviceRequest, known: Descriptions) -> list[str]:
    """CDI names of what is asked for."""
    ids = request.device_ids or []
    if request.driver == _CDI:
        return ids
    wanted = {capability for some in request.capabilities or () for capability in some}
    vendors = known.of_class("gpu") if "gpu" in wanted else {}
    if request.driver:  # `driver=nvidia` means nvidia.com
        vendors = {name: found for name, found in vendors.items() if name.partition(".")[0] == request.driver}
    if not vendors:
        shown = " ".join(f"[{' '.join(some)}]" for some in request.capabilities or ())
        raise InvalidParameter(
            f'could not select device driver "{request.driver}" with capabilities: [{shown}]'
        )
    vendor, names = next(iter(vendors.items()))
    if not ids:
        single = [name for name in names if name != _ALL]
        everything = [_ALL] if _ALL in names else single
        ids = everything if request.count < 0 else single[: request.count]
    return [f"{vendor}/gpu={name}" for name in ids]
