"""Images: what they are made of, what they are called, how they come, go and travel.

An image *is* its configuration document; its id is the digest of that document's bytes. It names its
layers by diff id. Documents live in the ledger, layers in `corten.snapshots`, compressed layers as
blobs in `corten.content`; this package owns no directory of its own.
"""

from corten.images.image import Image, ImageLayer
from corten.images.store import ImageStore

__all__ = ["Image", "ImageLayer", "ImageStore"]
