"""--cache-from and --cache-to of `corten build`.

Of a cache of type=local the client is told the keys, with which it fetches the archive
(POST /build/cache/export).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from corten.builder.cachetransfer.document import encode_inline
from corten.builder.cachetransfer.options import CachePlace, parse_place
from corten.builder.cachetransfer.packing import wanted_layers
from corten.builder.cachetransfer.registry import export_to_registry, import_from_registry
from corten.builder.frontends.classic import Built
from corten.builder.frontends.trace import Trace
from corten.builder.image import Layer, with_inline_cache
from corten.builder.session import Session
from corten.builder.solver import Solve
from corten.builder.store_images import credentials_for
from corten.digest import digest_of
from corten.errors import CortenError, NotSupported
from corten.images import ImageStore
from corten.types.operations import BuildOptions


class TracedCaches:
    """The caches of one build."""

    def __init__(self, store: ImageStore, session: Session, trace: Trace, options: BuildOptions) -> None:
        """Raises NotSupported, InvalidParameter: now, not after a long build."""
        self._store = store
        self._session = session
        self._trace = trace
        self._auth = options.auth
        self._imports = _places(options.cache_from, CachePlace.check_import)
        if any(place.type == "local" for place in self._imports):
            raise NotSupported("a cache of type=local is the client's to bring (POST /build/cache/import)")
        self._exports = _places(options.cache_to, CachePlace.check_export)

    async def import_all(self) -> None:
        """Have the solver ask these caches too; those that are not there are told of and left out."""
        for place in self._imports:

            async def work(place: CachePlace = place) -> None:
                auth = credentials_for(self._auth, place.reference.domain)
                self._session.imports.add(*await import_from_registry(self._store, place, auth))

            await self._step(f"importing cache manifest from {place}", work, may_fail=True)

    @property
    def is_inline(self) -> bool:
        """Whether the image is to have the cache in its own config."""
        return any(place.type == "inline" for place in self._exports)

    def inlined(self, built: Built, solve: Solve) -> Built:
        """The image with the cache in its own config, if that was asked for."""
        if built.config is None or not self.is_inline:
            return built
        layers = [Layer(diff_id) for diff_id in built.diff_ids]
        config = with_inline_cache(built.config, encode_inline(solve.records(), layers))
        return Built(id=digest_of(config), config=config, diff_ids=built.diff_ids)

    async def export_all(self, built: Built, solve: Solve) -> None:
        """Export what `solve` has done. Raises CortenError."""
        await self.export_layers([built.diff_ids], solve)

    async def export_layers(self, results: Sequence[Sequence[str]], solve: Solve) -> None:
        """As `export_all`, of results with these layers."""
        made = [[Layer(diff_id) for diff_id in diff_ids] for diff_ids in results]
        for place in [each for each in self._exports if each.type == "local"]:
            records = solve.records()
            wanted = wanted_layers(records, made, all_steps=place.all_steps)
            here = {each for each in wanted if await solve.fetched(each)}
            keys = {key for each in records if each.layers[-1].diff_id in here for key in each.keys}
            await self._trace.cache(place.attributes.get("dest", ""), sorted(keys))
        for place in [each for each in self._exports if each.type == "registry"]:

            async def work(place: CachePlace = place) -> None:
                records = solve.records()
                wanted = wanted_layers(records, made, all_steps=place.all_steps)
                layers = [each for each in wanted if await solve.fetched(each)]
                auth = credentials_for(self._auth, place.reference.domain)
                await export_to_registry(self._store, place, auth, records, layers, lambda *_: None)

            await self._step(f"exporting cache to {place}", work, may_fail=place.may_fail)

    async def _step(self, name: str, work: Callable[[], Awaitable[None]], *, may_fail: bool) -> None:
        step = self._trace.step(name)
        await self._trace.begin(step)
        try:
            await work()
        except CortenError as error:
            await self._trace.end(step, str(error))
            if not may_fail:
                raise
        else:
            await self._trace.end(step)


def _places(texts: Sequence[str], check: Callable[[CachePlace], None]) -> list[CachePlace]:
    places = [parse_place(text) for text in texts]
    for place in places:
        check(place)
    return places
