"""Stands in for gunicorn: serves a WSGI application with the standard library."""

import importlib
import sys
from wsgiref.simple_server import make_server

address, application = sys.argv[2], sys.argv[3]
sys.path.insert(0, "")
host, _, port = address.partition(":")
module, _, name = application.partition(":")
make_server(host, int(port), getattr(importlib.import_module(module), name)).serve_forever()
