"""All containers by id, name and prefix, and their rows in the ledger."""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import AbstractContextManager

from corten.engine.containers import record as records
from corten.engine.containers.container import Container
from corten.engine.containers.record import ContainerRecord, StateRecord
from corten.engine.containers.state import Status
from corten.engine.containers.validate import name_conflict
from corten.errors import InvalidParameter, NoSuchContainer
from corten.ids import ID_LENGTH, is_id_prefix
from corten.metadata import Ledger


class ContainerStore:
    """The one index; every change of a container's record or state goes to the ledger through it."""

    def __init__(self, ledger: Ledger, directory: str, run_directory: str) -> None:
        """directory: <root>/containers; run_directory: <exec-root>/containers. Reads what the ledger has."""
        self._ledger = ledger
        self._directory, self.run_directory = directory, run_directory
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container] = {}
        self._ids: list[str] = []  # sorted, for prefixes
        self._linked: dict[str, set[str]] = {}  # id -> ids of those that have links to it
        for row in ledger.query("SELECT status, state, document FROM containers ORDER BY created_ns"):
            record = records.decode_record(row["document"])
            state = records.decode_state(row["state"])
            self._index(self.container(record, state, Status(row["status"])))
        for row in ledger.query("SELECT container_id, document FROM container_health"):
            self._by_id[row["container_id"]].health = records.decode_health(row["document"])

    def container(self, record: ContainerRecord, state: StateRecord, status: Status) -> Container:
        """One with its directories named; not in the index yet."""
        directory, run_directory = f"{self._directory}/{record.id}", f"{self.run_directory}/{record.id}"
        return Container(record, state, status, directory, run_directory)

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Container]:
        """Oldest first."""
        return list(self._by_id.values())

    def find(self, container_id: str) -> Container | None:
        """By full id."""
        return self._by_id.get(container_id)

    def get(self, ref: str) -> Container:
        """By id, name or unambiguous prefix of an id. Raises NoSuchContainer, InvalidParameter."""
        found = self._by_id.get(ref) or self._by_name.get(ref.removeprefix("/"))
        if found is not None:
            return found
        if len(ref) < ID_LENGTH and is_id_prefix(ref):
            position = bisect_left(self._ids, ref)
            matching = [each for each in self._ids[position : position + 2] if each.startswith(ref)]
            if len(matching) > 1:
                raise InvalidParameter(f"Multiple IDs found with provided prefix: {ref}")
            if matching:
                return self._by_id[matching[0]]
        if not ref:
            raise InvalidParameter('invalid name or ID supplied: ""')
        raise NoSuchContainer(ref)

    def owner_of_name(self, name: str) -> str | None:
        """Id of the container that has the name."""
        found = self._by_name.get(name)
        return found.id if found else None

    def add(self, container: Container) -> None:
        """A new container. Raises Conflict if the name is taken."""
        self.check_name(container.name)
        record = container.record
        self._ledger.execute(
            "INSERT INTO containers (id, name, image_id, created_ns, status, state, document)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.name,
                record.image_id or None,
                record.created_ns,
                container.status.value,
                records.encode(container.state),
                records.encode(record),
            ),
        )
        self._index(container)

    def check_name(self, name: str) -> None:
        """Raise Conflict if the name is taken."""
        owner = self.owner_of_name(name)
        if owner is not None:
            raise name_conflict(name, owner)

    def transaction(self) -> AbstractContextManager[None]:
        """Several changes, also of other tables of the ledger, as one; never await inside."""
        return self._ledger.transaction()

    def use_image(self, image_id: str, container_id: str) -> None:
        """Note that a container (with a row) shows another image; ends with the container's row."""
        self._ledger.execute(
            "INSERT OR IGNORE INTO image_mounts (image_id, container_id) VALUES (?, ?)",
            (image_id, container_id),
        )

    def save_state(self, container: Container) -> None:
        """Status or state has changed."""
        self._ledger.execute(
            "UPDATE containers SET status = ?, state = ? WHERE id = ?",
            (container.status.value, records.encode(container.state), container.id),
        )

    def save_record(self, container: Container) -> None:
        """The record has changed, but for its name."""
        self._ledger.execute(
            "UPDATE containers SET document = ? WHERE id = ?",
            (records.encode(container.record), container.id),
        )

    def save_health(self, container: Container) -> None:
        """What is known of its health has changed."""
        if container.health is not None and container.id in self._by_id:
            self._ledger.execute(
                "INSERT OR REPLACE INTO container_health (container_id, document) VALUES (?, ?)",
                (container.id, records.encode(container.health)),
            )

    def rename(self, container: Container, name: str) -> None:
        """Give it another name. Raises Conflict if that is taken."""
        self.check_name(name)
        old = container.record.name
        container.record.name = name
        self._ledger.execute(
            "UPDATE containers SET name = ?, document = ? WHERE id = ?",
            (name, records.encode(container.record), container.id),
        )
        del self._by_name[old]
        self._by_name[name] = container

    def users_of_links(self, container_id: str) -> list[Container]:
        """Who is linked to it."""
        users = self._linked.get(container_id, ())
        return [self._by_id[user] for user in users if user in self._by_id]

    def remove(self, container: Container) -> None:
        """It is gone."""
        self._ledger.execute("DELETE FROM containers WHERE id = ?", (container.id,))
        del self._by_id[container.id]
        del self._by_name[container.name]
        del self._ids[bisect_left(self._ids, container.id)]
        for target in container.record.links.values():
            self._linked.get(target, set()).discard(container.id)

    def _index(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._by_name[container.name] = container
        insort(self._ids, container.id)
        for target in container.record.links.values():
            self._linked.setdefault(target, set()).add(container.id)
