"""What POST /build does and tells: as the classic builder (`classic`), or as BuildKit has it (`trace`)."""
