"""`corten checkpoint`."""
