"""Networks, endpoints and addresses that plugins make, asked for in threads and in the right order.

What a plugin may hold is a claim in the ledger before it is asked (`corten.network.plugged.claims`). What is
over is released behind the caller's back: a container's end waits for no plugin. Whoever next needs the same
network waits for that, so a plugin sees an address given back before it is asked for it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import TypeVar

from corten.engine.tasks import Background
from corten.errors import InternalError, NotFound
from corten.ids import new_id
from corten.network import ipamspec
from corten.network.addresses import hardware_address
from corten.network.controller import Controller
from corten.network.definition import ByPlugins
from corten.network.ipam import mac_of
from corten.network.plugged.calls import (
    DRIVER,
    IPAM,
    DriverPlugin,
    IpamPlugin,
    Plugins,
    check_version,
)
from corten.network.plugged.claims import Claim
from corten.network.sandboxes import Sandbox
from corten.network.values import BUILT_IN, Network, Place, Plugged, Subnet
from corten.plugins.client import Plugin, PluginError
from corten.plugins.discovery import NoSuchPlugin, PluginFolders
from corten.types.network import IPAMConfig, NetworkCreate

log = logging.getLogger(__name__)

T = TypeVar("T")


def needs_plugins(request: NetworkCreate) -> bool:
    """Whether a network like this is for plugins to make."""
    return bool(request.driver and request.driver not in BUILT_IN) or not ipamspec.is_ours(request.ipam)


class NetworkPlugins:
    """The controller's counterpart for what plugins do. Belongs to the event loop's thread."""

    def __init__(self, folders: PluginFolders, network: Controller, background: Background) -> None:
        self._plugins = Plugins(folders)
        self._network = network
        self._claims = network.claims
        self._background = background
        self._leaving: dict[str, set[asyncio.Task[None]]] = {}  # releases under way, by network id
        self._kept: dict[str, Claim] = {}  # what a plugin that is away still holds, by claim id
        network.members.on_left = self._left

    def restore(self) -> None:
        """After the controller's: release what no network and no endpoint stands for any more."""
        known = {each.id for each in self._network.networks()}
        known |= {each.id for each in self._network.members.all()}
        for claim in self._claims.all():
            if claim.id not in known:
                self._release(claim)

    # -- networks -------------------------------------------------------------------------------

    async def create(self, request: NetworkCreate) -> Network:
        """Make a network with a plugin as its driver, or for its addresses; after a failure there is nothing.

        Raises NotFound (no such plugin), PluginError, and as `Controller.create_network`.
        """
        self._network.check_name(request.name)
        ipam = "" if ipamspec.is_ours(request.ipam) else request.ipam.driver
        driver = "" if (request.driver or "bridge") in BUILT_IN else request.driver
        claim = Claim(id=new_id(), network_id="", driver=driver, ipam=ipam)
        claim.network_id = claim.id
        scope = await self._whole(lambda: self._driver(driver).scope()) if driver else "local"
        subnets = None
        self._claims.put(claim)
        try:
            if ipam:
                subnets = await self._subnets(claim, request)
            network = self._network.define_network(
                request, ByPlugins(id=claim.id, scope=scope, subnets=subnets)
            )
            if driver:
                await self._whole(lambda: self._driver(driver).create_network(network))
            self._network.establish_network(network)
        except BaseException:
            self._release(claim)
            raise
        return network

    async def _subnets(self, claim: Claim, request: NetworkCreate) -> tuple[Subnet, ...]:
        """Pools of the IPAM plugin for a request, with their gateways and auxiliary addresses."""
        wanted = list(request.ipam.config or ())
        if request.enable_ipv4 is not False and not any(":" not in each.subnet for each in wanted):
            wanted.insert(0, IPAMConfig())
        if request.enable_ipv6 and not any(":" in each.subnet for each in wanted):
            wanted.append(IPAMConfig(subnet="::"))
        return tuple([await self._subnet(claim, each, request) for each in wanted])

    async def _subnet(self, claim: Claim, wanted: IPAMConfig, request: NetworkCreate) -> Subnet:
        version = 6 if ":" in wanted.subnet else 4
        asked = "" if wanted.subnet == "::" else wanted.subnet
        options = request.ipam.options or {}
        pool = await self._whole(
            lambda: self._ipam(claim.ipam).request_pool(asked, wanted.ip_range, options, version=version)
        )
        claim.pools.setdefault(str(version), []).append(pool.id)
        self._claims.put(claim)
        for given in (str(pool.subnet), pool.gateway):
            check_version(f"{IPAM}.RequestPool", claim.ipam, given, version)
        gateway = pool.gateway
        if not gateway:
            gateway = await self._address(claim, pool.id, wanted.gateway, version=version, gateway=True)
        auxiliary = {
            name: (await self._address(claim, pool.id, address, version=version)).partition("/")[0]
            for name, address in (wanted.auxiliary_addresses or {}).items()
        }
        return Subnet(
            subnet=pool.subnet,
            gateway=gateway.partition("/")[0],
            ip_range=ip_network(wanted.ip_range) if wanted.ip_range else None,
            auxiliary=auxiliary,
            chosen=not asked,
        )

    async def _address(
        self, claim: Claim, pool: str, wanted: str, *, version: int, mac: str = "", gateway: bool = False
    ) -> str:
        """An address of a pool with the length of its prefix, noted in the claim."""
        given = await self._whole(
            lambda: self._ipam(claim.ipam).request_address(pool, wanted, mac=mac, gateway=gateway)
        )
        claim.addresses.append((pool, given.partition("/")[0]))
        self._claims.put(claim)
        check_version(f"{IPAM}.RequestAddress", claim.ipam, given, version)
        return given

    async def remove(self, ref: str) -> Network:
        """Remove a network. Raises as `Controller.remove_network`, PluginError if the plugin is away."""
        network = self._network.check_unused(ref)
        await self._settled(network.id)
        network = self._network.check_unused(ref)
        if network.is_plugged:
            try:
                await self._whole(lambda: self._driver(network.driver).delete_network(network.id))
            except PluginError as error:
                if not error.reached:
                    raise
                log.warning(
                    "plugin cannot delete a network", extra={"network": network.id, "reason": str(error)}
                )
        network = self._network.remove_network(network.id)
        claim = self._claims.of_network(network.id)
        if claim is not None:
            claim.driver = ""
            self._release(claim)
            await self._settled(network.id)
        return network

    # -- endpoints ------------------------------------------------------------------------------

    async def prepare(
        self, container_id: str, places: Sequence[Place], sandbox: Sandbox | None
    ) -> tuple[list[Place], Sandbox | None]:
        """Have plugins make their part of a start; returns the places with it, and the namespace to be used.

        sandbox: where the container will be, if that is settled; closed if this fails. What is not used in
        the end has to be given to `abandon`. Raises PluginError, and as `Members.allocate`.
        """
        made: list[Place] = []
        try:
            for place in places:
                network = self._network.get_network(place.network)
                if network.uses_plugins:
                    sandbox = sandbox or self._network.members.take_sandbox(places)
                    key = f"/proc/{os.getpid()}/fd/{sandbox.netns_fd}" if sandbox is not None else ""
                    place = await self.plug(container_id, network, place, key)
                made.append(place)
        except BaseException:
            self.abandon(made)
            if sandbox is not None:
                sandbox.close()
            raise
        return made, sandbox

    async def plug(self, container_id: str, network: Network, place: Place, sandbox_key: str) -> Place:
        """Have plugins make what one place needs. Raises as `prepare`.

        sandbox_key: a path of the container's namespace.
        """
        await self._settled(network.id)
        driver = network.driver if network.is_plugged else ""
        made = Plugged(endpoint_id=new_id(), mac=hardware_address(place.mac) if place.mac else "")
        claim = Claim(
            id=made.endpoint_id,
            network_id=network.id,
            owner=container_id,
            driver=driver,
            ipam=network.ipam_driver,
            plugged=made,
        )
        self._claims.put(claim)
        try:
            if network.ipam_driver:
                made = await self._addresses(claim, made, network, place)
            else:
                made = self._reserved(container_id, made, network, place)
            claim.plugged = made
            self._claims.put(claim)
            if driver:
                call = made
                made = await self._whole(
                    lambda: self._driver(driver).create_endpoint(network.id, call, place.options)
                )
                call = made
                made = await self._whole(lambda: self._driver(driver).join(network.id, call, sandbox_key))
                made = self._with_mac(made)
                claim.plugged = made
                self._claims.put(claim)
        except BaseException:
            self._left(made)
            raise
        return replace(place, plugged=made)

    def _reserved(self, container_id: str, made: Plugged, network: Network, place: Place) -> Plugged:
        given = self._network.members.reserve(container_id, place)
        four, six = network.subnet_with(given.ipv4), network.subnet_with(given.ipv6)
        return made.but(
            ipv4=f"{given.ipv4}/{four.subnet.prefixlen}" if four else "",
            ipv6=f"{given.ipv6}/{six.subnet.prefixlen}" if six else "",
        )

    async def _addresses(self, claim: Claim, made: Plugged, network: Network, place: Place) -> Plugged:
        """Addresses of the IPAM plugin: of the first pool of each IP version that has one."""
        of_network = self._claims.of_network(network.id)
        found: dict[str, str] = {}
        for version, wanted in (("4", place.ipv4), ("6", place.ipv6)):
            pools = of_network.pools.get(version, []) if of_network is not None else []
            for number, pool in enumerate(pools, 1):
                try:
                    found[version] = await self._address(
                        claim, pool, wanted, version=int(version), mac=place.mac
                    )
                    break
                except PluginError:
                    if number == len(pools):
                        raise
        four, six = found.get("4", ""), found.get("6", "")
        mac = made.mac
        if not network.is_plugged and not mac:
            mac = mac_of((four or six).partition("/")[0])
        return made.but(ipv4=four, ipv6=six, mac=mac)

    def _with_mac(self, made: Plugged) -> Plugged:
        try:
            return made if made.mac else made.but(mac=self._network.link_mac(made.link))
        except OSError as error:
            raise InternalError(
                f"the plugin's interface {made.link} is not there: {error.strerror}"
            ) from error

    def abandon(self, places: Sequence[Place]) -> None:
        """Places that came to nothing: what plugins made for them goes."""
        for place in places:
            if place.plugged is not None:
                self._left(place.plugged)

    # -- what is over ---------------------------------------------------------------------------

    def _left(self, plugged: Plugged) -> None:
        claim = next((each for each in self._claims.all() if each.id == plugged.endpoint_id), None)
        if claim is not None:
            if not claim.ipam:
                self._network.members.give_back(claim.network_id, plugged)
            self._release(claim)

    def _release(self, claim: Claim) -> None:
        """Give back what is claimed, in the background."""
        task = self._background.start(self._give_back(claim), "give back what a network plugin made")
        tasks = self._leaving.setdefault(claim.network_id, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._whole(lambda: self._give_back_now(claim))
        except (PluginError, NotFound) as error:  # not there: again, when the network is used next
            self._kept[claim.id] = claim
            log.warning("network plugin is away", extra={"reason": str(error)})
            return
        self._kept.pop(claim.id, None)
        self._claims.remove(claim.id)

    def _give_back_now(self, claim: Claim) -> None:
        """In a thread. Raises PluginError if a plugin is away; what it answers makes no difference."""
        calls: list[Callable[[], None]] = []
        if claim.driver:
            driver = self._driver(claim.driver)
            if claim.is_endpoint:
                calls.append(partial(driver.leave, claim.network_id, claim.id))
                calls.append(partial(driver.delete_endpoint, claim.network_id, claim.id))
            else:
                calls.append(partial(driver.delete_network, claim.network_id))
        if claim.ipam:
            ipam = self._ipam(claim.ipam)
            for pool, address in claim.addresses:
                calls.append(partial(ipam.release_address, pool, address))
            for pool in (pool for some in claim.pools.values() for pool in some):
                calls.append(partial(ipam.release_pool, pool))
        for call in calls:
            try:
                call()
            except PluginError as error:
                if not error.reached:
                    raise
                log.debug("network plugin", extra={"reason": str(error)})

    async def _settled(self, network_id: str) -> None:
        """Wait until nothing of a network is being given back, and try again what could not be."""
        for claim in [each for each in self._kept.values() if each.network_id == network_id]:
            self._release(claim)
        while tasks := self._leaving.get(network_id):
            await asyncio.wait(tuple(tasks))

    # -- calls ----------------------------------------------------------------------------------

    def _driver(self, name: str) -> DriverPlugin:
        return DriverPlugin(self._opened(name, DRIVER))

    def _ipam(self, name: str) -> IpamPlugin:
        return IpamPlugin(self._opened(name, IPAM))

    def _opened(self, name: str, interface: str) -> Plugin:
        """Found anew by each call: a plugin may come, go, and move."""
        try:
            return self._plugins.open(name, interface)
        except NoSuchPlugin as error:
            words = f'could not find plugin {name} in v1 plugin registry: plugin "{name}" not found'
            raise NoSuchPlugin(name) if interface == IPAM else NotFound(words) from error

    async def _whole(self, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread; who is cancelled waits for its end first."""
        future = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
