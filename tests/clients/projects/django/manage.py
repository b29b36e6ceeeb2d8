"""Stands in for Django's manage.py: tells what it was asked, with the settings it was given."""

import hashlib
import importlib
import os
import pathlib
import sys

settings = importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
if sys.argv[1] == "collectstatic":
    pathlib.Path("static").mkdir()
    pathlib.Path("static/manifest").write_text(hashlib.sha256(os.environ["SECRET_KEY"].encode()).hexdigest())
print(settings.NAME, sys.argv[1])
