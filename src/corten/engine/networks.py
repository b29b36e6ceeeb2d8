"""The networks service: the API's Protocol over the network controller and the containers on it."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from corten.engine.containers.connections import Connections
from corten.engine.containers.context import Context
from corten.engine.network_plugins import needs_plugins
from corten.engine.prune import PruneFilter
from corten.errors import CortenError, InvalidParameter
from corten.filters import Filters
from corten.network import documents
from corten.network.predefined import is_predefined
from corten.network.values import Network as NetworkValue
from corten.types.network import (
    Network,
    NetworkConnect,
    NetworkCreate,
    NetworkCreateResponse,
    NetworkDisconnect,
    NetworksPruneReport,
)

_ACCEPTED = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class NetworkService:
    """Implements `corten.api.routes.networks.Networks`."""

    def __init__(self, context: Context, connections: Connections) -> None:
        self._context = context
        self._controller = context.network
        self._connections = connections

    async def list(self, filters: Filters) -> Sequence[Network]:
        """See Networks."""
        filters.validate(_ACCEPTED)
        kinds = filters.values_of("type")
        for kind in kinds:
            if kind not in ("builtin", "custom"):
                raise InvalidParameter(f"invalid filter: 'type'='{kind}'")
        dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
        return [
            documents.network_document(network)
            for network in self._controller.networks()
            if filters.match("name", network.name)
            and filters.match("id", network.id)
            and filters.exact("driver", network.driver)
            and filters.exact("scope", network.scope)
            and filters.match_labels("label", network.labels)
            and (not kinds or ("builtin" if is_predefined(network.name) else "custom") in kinds)
            and (dangling is None or self._is_dangling(network) == dangling)
        ]

    def _is_dangling(self, network: NetworkValue) -> bool:
        return not is_predefined(network.name) and not self._controller.members.inside(network.id)

    async def inspect(self, ref: str) -> Network:
        """See Networks."""
        network = self._controller.get_network(ref)
        return documents.network_document(network, self._controller.members.inside(network.id))

    async def create(self, request: NetworkCreate) -> NetworkCreateResponse:
        """See Networks."""
        if needs_plugins(request):
            network = await self._context.network_plugins.create(request)
        else:
            network = self._controller.create_network(request)
        self._publish("create", network)
        return NetworkCreateResponse(id=network.id)

    async def remove(self, ref: str) -> None:
        """See Networks."""
        if self._controller.get_network(ref).uses_plugins:
            network = await self._context.network_plugins.remove(ref)
        else:
            network = self._controller.remove_network(ref)
        self._publish("destroy", network)

    async def connect(self, ref: str, request: NetworkConnect) -> None:
        """See Networks."""
        began = perf_counter()
        await self._connections.connect(ref, request)
        self._context.measures.connect.observe(perf_counter() - began)

    async def disconnect(self, ref: str, request: NetworkDisconnect) -> None:
        """See Networks."""
        await self._connections.disconnect(ref, request)

    async def prune(self, filters: Filters) -> NetworksPruneReport:
        """See Networks."""
        wanted = PruneFilter(filters)
        deleted = []
        for network in self._controller.networks():
            if is_predefined(network.name) or network.config_only:
                continue
            if self._controller.members.inside(network.id) or not wanted.matches(
                network.created_ns, network.labels
            ):
                continue
            try:
                await self.remove(network.id)
            except CortenError:
                continue
            deleted.append(network.name)
        self._context.events.publish("network", "prune", "", {"reclaimed": "0"})
        return NetworksPruneReport(networks_deleted=deleted or None)

    def _publish(self, action: str, network: NetworkValue) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self._context.events.publish("network", action, network.id, attributes)
