"""Documentation points at what exists: every relative link of the README and docs leads to a file."""

import re
from pathlib import Path

import pytest

_TOP = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_PAGES = [_TOP / "README.md", *sorted((_TOP / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    links = _LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
