from corten.builder.attest.options import ProvenanceOptions
from corten.buildkit.attributes import attestations


def test_attestations_are_attributes_or_arguments():
    found = attestations(
        {"attest:provenance": "mode=min", "build-arg:BUILDKIT_ATTEST_SBOM": "", "target": "x"}
    )
    assert found.provenance == ProvenanceOptions(mode="min")
    assert found.sbom is not None
