import pytest

from corten.buildkit.attributes import parse_attributes
from corten.errors import NotSupported


def test_attestations_are_refused_not_forgotten():
    with pytest.raises(NotSupported, match="attestations are not supported yet: provenance"):
        parse_attributes({"attest:provenance": "mode=max"})
