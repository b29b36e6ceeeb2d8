"""A page that says who serves it, and how often it has been asked."""

import itertools
import os
import socket

from flask import Flask

app = Flask(__name__)
visits = itertools.count(1)


@app.get("/")
def page() -> str:
    """Hostname (the container's id), PID (as the container counts) and a counter."""
    return f"Hello from container {socket.gethostname()}, process {os.getpid()}, visit {next(visits)}\n"
