"""`corten network ...`: a module per command."""
