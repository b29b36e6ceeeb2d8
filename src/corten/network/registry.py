"""The networks in memory, by name and id."""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import InvalidParameter, NoSuchNetwork
from corten.network.predefined import ensure_predefined
from corten.network.store import NetworkStore
from corten.network.values import Network


class Networks:
    """All networks; what changes is in the ledger first. use_plugins: whether one of them does."""

    def __init__(self, store: NetworkStore) -> None:
        self._store = store
        self.by_id: dict[str, Network] = {}
        self._by_name: dict[str, Network] = {}
        self.use_plugins = False

    def load(self) -> None:
        """Read the ledger, with Docker's own networks in any case."""
        self.by_id = {each.id: each for each in ensure_predefined(self._store)}
        self._by_name = {each.name: each for each in self.by_id.values()}
        self._look_for_plugins()

    def _look_for_plugins(self) -> None:
        self.use_plugins = any(each.uses_plugins for each in self.by_id.values())

    def __iter__(self) -> Iterator[Network]:
        return iter(list(self.by_id.values()))

    @property
    def default_bridge(self) -> Network:
        """The network "bridge"."""
        return self._by_name["bridge"]

    def get(self, ref: str) -> Network:
        """By name, id, or unambiguous beginning of an id. Raises NoSuchNetwork, InvalidParameter."""
        network = self.by_id.get(ref) or self._by_name.get(ref)
        if network is not None:
            return network
        found = [each for each in self.by_id.values() if ref and each.id.startswith(ref)]
        if len(found) > 1:
            raise InvalidParameter(
                f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NoSuchNetwork(ref)
        return found[0]

    def put(self, network: Network) -> None:
        """Add a network, or another state of it."""
        self._store.put_network(network)
        self.by_id[network.id] = self._by_name[network.name] = network
        self.use_plugins = self.use_plugins or network.uses_plugins

    def remove(self, network: Network) -> None:
        """It is gone."""
        self._store.remove_network(network.id)
        del self.by_id[network.id]
        del self._by_name[network.name]
        self._look_for_plugins()
