"""The networks service: the API's Protocol over the network controller."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corten.engine.prune import PruneFilter
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.network import documents
from corten.network.controller import Controller
from corten.network.values import Network as NetworkValue
from corten.types.network import Network, NetworksPruneReport

_ACCEPTED = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class NetworkService:
    """Implements `corten.api.routes.networks.Networks`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def list(self, filters: Filters) -> Sequence[Network]:
        """See Networks."""
        filters.validate(_ACCEPTED)
        kinds = filters.values_of("type")
        for kind in kinds:
            if kind not in ("builtin", "custom"):
                raise InvalidParameter(f"invalid filter: 'type'='{kind}'")
        dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
        return [
            _document(network)
            for network in self._controller.networks()
            if filters.match("name", network.name)
            and filters.match("id", network.id)
            and filters.exact("driver", network.driver)
            and filters.exact("scope", "local")
            and filters.match_labels("label", network.labels)
            # All networks of today are Docker's own: builtin, and never dangling.
            and (not kinds or "builtin" in kinds)
            and not dangling
        ]

    async def inspect(self, ref: str) -> Network:
        """See Networks."""
        network = self._controller.get_network(ref)
        document = documents.network_document(network, self._controller.endpoints_in(network.id))
        return msgspec.convert(document, Network)

    async def prune(self, filters: Filters) -> NetworksPruneReport:
        """See Networks; Docker's own networks are never pruned, and there are no others yet."""
        PruneFilter(filters)
        return NetworksPruneReport(networks_deleted=None)


def _document(network: NetworkValue) -> Network:
    return msgspec.convert(documents.network_document(network), Network)
