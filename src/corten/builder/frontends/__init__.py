"""How builds are asked for and how they are told of: one module per way."""
