"""Corten: Docker's system in Python. Start reading at docs/TOUR.md."""

__version__ = "0.1.0"
