"""Layers and what containers write above them.

On disk it owns::

    <root>/layers/<first 24 hex of diff id>/    one read-only directory per layer, shared by all images
    <root>/layers/<the same>.erofs/             the layer's tar with an index instead (`erofs`), and its mount
    <root>/layers/empty/                        the lower directory of images without layers
    <root>/underlay/                            the layer below every image
    <root>/containers/<id>/{upper,work}/        made here, filled by overlayfs
    <root>/tmp/layer-<random>/                  being unpacked; swept at start

A directory is in overlayfs' own format: whiteouts are character devices 0:0, opaque directories carry
trusted.overlay.opaque. An upperdir therefore *is* a layer's diff, and a layer is made of one by renaming.

Reading and writing tar (`tar_reader`, `tar_writer`, `extract`, `archive`) is pure or works below a
directory fd, never by path string, and serves image layers, ADD, cp and export alike. Heavy work runs in
worker processes (`workers`), so that neither the engine's loop nor its memory knows of it.
"""
