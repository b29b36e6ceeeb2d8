"""Making a container: everything that can be refused is refused here, before it exists."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator

import msgspec

from corten.engine.containers.apparmor import check_profile
from corten.engine.containers.config import merge_image
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.links import parse_links
from corten.engine.containers.logconfig import validate_log_config
from corten.engine.containers.mountpoints import MountResolver
from corten.engine.containers.mounts import DEFAULT_SHM_BYTES
from corten.engine.containers.namespaces import container_mode, shared_containers
from corten.engine.containers.places import check_settings
from corten.engine.containers.record import ContainerRecord, MountRecord, StateRecord
from corten.engine.containers.security import parse_security_opt
from corten.engine.containers.signals import parse_signal
from corten.engine.containers.state import Status
from corten.engine.containers.unsupported import Unsupported
from corten.engine.containers.userns import Chooser, IdMaps, kept_user
from corten.engine.containers.validate import validate, validate_name
from corten.errors import CortenError, InvalidParameter, NoSuchContainer, NoSuchNetwork
from corten.ids import invent_name, new_id
from corten.images.image import Image
from corten.network.definition import check_place
from corten.network.values import Place
from corten.platforms import parse_platform
from corten.snapshots import uppers
from corten.types.container import ContainerConfig, CreateRequest, CreateResponse, HostConfig
from corten.types.network import EndpointIPAMConfig, EndpointSettings

_NAME_ATTEMPTS = 6
_names = random.Random()  # noqa: S311 - names, not secrets


class Creator:
    """`create`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unsupported = Unsupported(context.cgroups.features())
        self._mounts = MountResolver(context.volume_manager, self._mounts_of, self._layers_of)
        self._id_maps = Chooser(context.host.id_maps, self._taken_ids)

    async def create(self, name: str, request: CreateRequest, platform: str) -> CreateResponse:
        """See `corten.api.routes.containers.Containers.create`."""
        context = self._context
        if name:
            name = validate_name(name)
            context.store.check_name(name)
        if platform:
            image = context.images.variant(request.image, parse_platform(platform))
        else:
            image = context.images.resolve(request.image)
        context.admit(request.image, image)
        config = merge_image(_config_of(request), image.config)
        host_config = self._with_defaults(request.host_config or HostConfig())
        if config.network_disabled and not container_mode(host_config.network_mode):
            host_config = msgspec.structs.replace(host_config, network_mode="none")
        host_config, discarded = self._unsupported.discard(host_config)
        warnings = discarded + validate(config, host_config)
        if request.stop_signal:
            parse_signal(request.stop_signal)
        self._check_shared(host_config)
        if host_config.security_opt:
            check_profile(parse_security_opt(host_config.security_opt), context.host.apparmor)
        validate_log_config(host_config.log_config)
        if not config.user and (kept := kept_user(host_config.userns_mode)):
            config = msgspec.structs.replace(config, user=kept)
        endpoints = _endpoints(request, host_config.network_mode)
        for ref, settings in endpoints.items():
            if settings.ipam_config:
                self._check_addresses(ref, settings.ipam_config)
        container_id = new_id()
        mounts = await self._mounts.resolve(config, host_config)
        record = ContainerRecord(
            id=container_id,
            name=name or self._invent_name(container_id),
            created_ns=time.time_ns(),
            image_id=image.id,
            config=config,
            host_config=host_config,
            mounts=mounts,
            endpoints=endpoints,
            links=parse_links(context.store, host_config.links) if host_config.links else {},
        )
        try:
            if host_config.storage_opt:
                record.project = context.disk_limits.choose(host_config.storage_opt)
            record.id_maps = self._id_maps.choose(host_config, self._peers(host_config))
            container = self._register(record, image)
        except BaseException:
            await self._discard_volumes(mounts)
            raise
        context.publish(container, "create")
        return CreateResponse(id=container_id, warnings=warnings)

    def _register(self, record: ContainerRecord, image: Image) -> Container:
        context = self._context
        container = context.store.container(record, StateRecord(), Status.CREATED)
        directory = container.directory
        context.store.add(container)  # the row first: a directory without one is swept at the next start
        try:
            for mount in record.mounts:
                if mount.kind == "volume":
                    context.volumes.rows.use(mount.name, record.id)
                elif mount.kind == "image":
                    context.store.use_image(mount.name, record.id)
            os.mkdir(directory, 0o710)
            uppers.prepare(directory, context.images.lower_dirs(image))
            if record.project:
                context.disk_limits.apply(container)
        except BaseException:
            if record.project:
                context.disk_limits.release(container)
            context.store.remove(container)
            if os.path.isdir(directory):
                context.trash.discard(directory)
            raise
        return container

    def _with_defaults(self, host_config: HostConfig) -> HostConfig:
        settings = self._context.settings
        return msgspec.structs.replace(
            host_config,
            network_mode=_network_mode(host_config.network_mode),
            log_config=settings.log_config(host_config.log_config),
            memory_swap=_memory_swap(host_config),
            shm_size=host_config.shm_size or settings.shm_size_bytes or DEFAULT_SHM_BYTES,
            ipc_mode=host_config.ipc_mode or "private",
            cgroupns_mode=host_config.cgroupns_mode or self._cgroupns_mode(host_config),
            restart_policy=host_config.restart_policy,
            runtime=self._runtime(host_config.runtime),
        )

    def _check_addresses(self, ref: str, asked: EndpointIPAMConfig) -> None:
        """As the start will; a network that does not exist is missed there. Raises InvalidParameter."""
        with contextlib.suppress(NoSuchNetwork):
            network = self._context.network.get_network(ref)
            if asked.ipv4_address or asked.ipv6_address:
                wanted = Place(network=ref, ipv4=asked.ipv4_address, ipv6=asked.ipv6_address)
                check_place(network, wanted, f"invalid config for network {ref}: ")

    def _cgroupns_mode(self, host_config: HostConfig) -> str:
        """What nobody has asked for: as dockerd, who is privileged sees the host's only with cgroup v1."""
        return "host" if host_config.privileged and self._context.cgroups.version == "v1" else "private"

    def _taken_ids(self) -> Iterator[IdMaps]:
        return (each.record.id_maps for each in self._context.store.all() if each.record.id_maps)

    def _check_shared(self, host_config: HostConfig) -> None:
        """Whose IPC or processes are to be shared has to exist. Raises InvalidParameter."""
        for mode in (host_config.ipc_mode, host_config.pid_mode):
            if ref := container_mode(mode):
                try:
                    self._context.store.get(ref)
                except NoSuchContainer as error:
                    raise InvalidParameter(str(error)) from None  # NotFound: clients would pull the image

    def _peers(self, host_config: HostConfig) -> list[IdMaps | None]:
        """The maps of those whose namespaces are to be joined. Who does not exist is missed at the start."""
        found = []
        for ref in shared_containers(host_config):
            with contextlib.suppress(NoSuchContainer, InvalidParameter):
                found.append(self._context.store.get(ref).record.id_maps)
        return found

    def _runtime(self, name: str) -> str:
        runtimes = self._context.settings.runtimes
        name = name or runtimes.default
        runtimes.get(name)
        return name

    def _invent_name(self, container_id: str) -> str:
        for attempt in range(_NAME_ATTEMPTS):
            name = invent_name(_names, attempt=attempt)
            if self._context.store.owner_of_name(name) is None:
                return name
        return container_id[:12]

    def _mounts_of(self, ref: str) -> list[MountRecord]:
        return self._context.store.get(ref).record.mounts

    def _layers_of(self, ref: str) -> tuple[str, list[str]]:
        image = self._context.images.resolve(ref)
        return image.id, self._context.images.lower_dirs(image)

    async def _discard_volumes(self, mounts: list[MountRecord]) -> None:
        """Of a container that did not come to be."""
        for mount in mounts:
            if mount.anonymous:
                try:
                    await self._context.volume_manager.remove(mount.name)
                except CortenError:
                    continue


def _config_of(request: CreateRequest) -> ContainerConfig:
    """The request without its two inner documents."""
    return ContainerConfig(**{name: getattr(request, name) for name in ContainerConfig.__struct_fields__})


def _memory_swap(host_config: HostConfig) -> int:
    """Docker's default: memory and swap together are twice the memory."""
    if host_config.memory > 0 and host_config.memory_swap == 0:
        return 2 * host_config.memory
    return host_config.memory_swap


def _network_mode(mode: str) -> str:
    return "bridge" if mode in ("", "default") else mode


def _endpoints(request: CreateRequest, mode: str) -> dict[str, EndpointSettings]:
    """The networks asked for, that of the network mode first; {} if it is the only one, without wishes."""
    networking = request.networking_config
    given = (networking.endpoints_config if networking else None) or {}
    if not given or container_mode(mode):
        return {}
    wanted = {
        "bridge" if name == "default" else name: each or EndpointSettings() for name, each in given.items()
    }
    for name, settings in wanted.items():
        check_settings(name, settings)
    return {mode: EndpointSettings(), **wanted}
