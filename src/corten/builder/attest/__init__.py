"""What a build says of itself: where its result comes from (provenance), and what is in it (SBOM).

Both are predicates of in-toto statements, made when the result leaves; nothing of them is kept here, and
nothing that a secret held is in them. Source: moby/buildkit, docs/attestations.
"""
