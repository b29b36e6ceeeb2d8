"""Signatures of images in cosign's form: payloads, keys, and the password box that private keys travel in.

A signature is ECDSA (P-256, SHA-256) over a small JSON document that names the image's digest. Pure: who
fetches and attaches signatures is `corten.images.signatures`. `python -m corten.signatures` is the client's
helper, so that private keys never leave the user's process for the engine's.

Source: sigstore/cosign specs/SIGNATURE_SPEC.md; containers/image docs/atomic-signature.md ("simple signing").
"""
