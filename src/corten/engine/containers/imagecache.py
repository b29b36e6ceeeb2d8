"""The images that containers were made of lately, decoded.

An image never changes, and one that a container uses never goes (it is hidden at most), so what is kept
by id needs no checking. Names are looked up in the ledger every time.
"""

from __future__ import annotations

from collections import OrderedDict

from corten.digest import Digest
from corten.errors import NoSuchImage
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.platforms import Platform
from corten.reference import InvalidReference, parse_normalized

_KEPT = 64


class CachedImages:
    """Implements `context.ImageSource` over the catalogue."""

    def __init__(self, catalogue: ImageCatalogue) -> None:
        self._catalogue = catalogue
        self._known: OrderedDict[Digest, tuple[Image, list[str]]] = OrderedDict()
        self._retired = 0

    def resolve(self, text: str) -> Image:
        """See ImageSource."""
        image = self.find(text)
        # The catalogue words its error better than we could.
        return image if image is not None else self._catalogue.resolve(text)

    def variant(self, text: str, platform: Platform) -> Image:
        """See ImageSource."""
        return self._catalogue.variant(text, platform)

    def find(self, text: str) -> Image | None:
        """See ImageSource."""
        try:
            image_id = self._catalogue.id_of_name(parse_normalized(text))
        except InvalidReference:
            image_id = None
        if image_id is None:
            return self._catalogue.find(text)
        return self.get(image_id)

    def get(self, image_id: Digest) -> Image:
        """See ImageSource."""
        return self._entry(image_id)[0]

    def lower_dirs(self, image: Image) -> list[str]:
        """See ImageSource."""
        return self._entry(image.id)[1]

    def _entry(self, image_id: Digest) -> tuple[Image, list[str]]:
        if self._retired != (retired := self._catalogue.layers.retired):
            self._retired = retired
            self._known.clear()  # an image that comes back may find its layers elsewhere
        entry = self._known.get(image_id)
        if entry is None:
            if not image_id:
                raise NoSuchImage("<lost>")
            image = self._catalogue.get(image_id)
            entry = (image, self._catalogue.lower_dirs(image))
            self._known[image_id] = entry
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return entry
