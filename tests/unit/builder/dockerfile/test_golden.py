"""Dockerfiles and what they are understood as; UPDATE_GOLDEN=1 makes the dumps anew, then read the diff."""

import os
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.stages import read_dockerfile

GOLDEN = Path(__file__).parent / "golden"


def dump(source: bytes) -> str:
    try:
        dockerfile = read_dockerfile(source)
    except DockerfileError as error:
        return f"error lines {error.line}-{error.end_line}: {error}\n"
    out = []
    if dockerfile.directives.lines:
        out.append(f"directives {values(dockerfile.directives)}")
    out += [f"warning line {w.line} {w.rule.name}: {w.detail}" for w in dockerfile.warnings]
    out += [describe(arg) for arg in dockerfile.meta_args]
    for stage in dockerfile.stages:
        out.append(f"stage {stage.index} {stage.name}")
        out += [f"  {describe(item)}" for item in (stage.base, *stage.instructions)]
    return "\n".join(out) + "\n"


def describe(item: object) -> str:
    place = f"{item.line}" if item.line == item.end_line else f"{item.line}-{item.end_line}"
    return f"{place}: {type(item).__name__} {values(item)}"


def values(item: object) -> str:
    parts = []
    for field in fields(item):
        value = getattr(item, field.name)
        if field.name in ("text", "line", "end_line", "lines", "comments") or value == default(field):
            continue
        if is_dataclass(value):
            value = f"({values(value)})"
        elif isinstance(value, tuple):
            value = "[" + ", ".join(f"({values(v)})" if is_dataclass(v) else repr(v) for v in value) + "]"
        else:
            value = repr(value)
        parts.append(f"{field.name}={value}")
    return " ".join(parts)


def default(field: object) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.dockerfile")), ids=lambda p: p.stem)
def test_dump(path: Path) -> None:
    found = dump(path.read_bytes())
    expected = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(found)
    assert found == expected.read_text()
