"""Handlers by resource, each with the Protocol that it asks of the engine."""
