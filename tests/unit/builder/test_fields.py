"""What users and clients write with commas, and what is no line of CSV."""

import pytest

from corten.builder.attest.options import parse_attestations
from corten.builder.cachetransfer.options import parse_place
from corten.builder.dockerfile.devices import parse_device
from corten.builder.dockerfile.mounts import parse_mount
from corten.builder.fields import comma_fields
from corten.buildkit.attributes import parse_attributes
from corten.buildkit.historyfilters import parse_history_filters
from corten.errors import InvalidParameter


def test_quotes_hold_commas():
    assert comma_fields('a,"b,c",') == ["a", "b,c", ""]
    assert comma_fields("") == []


@pytest.mark.parametrize("text", ["a\nb", '"a', "a" * 200_000], ids=["two lines", "no end", "huge"])
@pytest.mark.parametrize(
    "parse",
    [
        comma_fields,
        parse_mount,
        parse_device,
        parse_place,
        lambda text: parse_history_filters([text]),
        lambda text: parse_attestations({"sbom": text}),
        lambda text: parse_attributes({"add-hosts": text}),
    ],
    ids=["fields", "mount", "device", "cache", "history", "attestation", "attribute"],
)
def test_what_is_no_line_is_refused(parse, text):
    with pytest.raises(InvalidParameter):
        parse(text)
