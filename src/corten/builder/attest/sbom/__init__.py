"""What a file system says is installed in it: packages of distributions, Python and Node.js, as SPDX.

All files belong to whoever has built the image, and are read in a worker process: below the root's fd,
regular files only, in bounded pieces. What is too much is an error: a list that is cut off would be a lie.
"""
