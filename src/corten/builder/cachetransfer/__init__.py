"""The build cache's way from one engine to another: --cache-to and --cache-from.

::

    solver's records ──document──► cache config + layers ──places──► a registry's repository
                                                      └─► (buildkit.clientcontent) a directory of the client's
    a repository, a directory, an image's own config ──document──► imports ──► the solver asks, and fetches
                                                                               layers only when it needs them

Keys name work by content (`builder.keys`), so they mean the same in every engine. What is written has the
form of BuildKit's cache (application/vnd.buildkit.cacheconfig.v0): its tools can show, copy and delete it,
and either builder takes the other's for one that has nothing it knows.
"""
