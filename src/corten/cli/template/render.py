"""What commands use of templates: a program applied to documents, errors as Docker shows them."""

from __future__ import annotations

from corten.cli.errors import ExitError
from corten.cli.template import nodes, parser
from corten.cli.template.lexer import TemplateError
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BAD_TEMPLATE = 64


class Program:
    """A parsed template; `\\t` and `\\n` in its text are escapes. Raises ExitError with Docker's texts.

    `listing`: for rows of a table, whose errors have other words and codes than those of single documents.
    """

    __slots__ = ("_failed", "_name", "_statements")

    def __init__(self, source: str, name: str = "", *, listing: bool = False) -> None:
        self._name = name
        self._failed = "failed to execute template" if listing else "template parsing error"
        try:
            self._statements = parser.parse(source.replace("\\t", "\t").replace("\\n", "\n"))
        except TemplateError as e:
            failed = "failed to parse template" if listing else self._failed
            raise ExitError(f"{failed}: template: {name}:1: {e}", 1 if listing else BAD_TEMPLATE) from e

    def render(self, document: Any) -> str:
        """The template's text for one document."""
        try:
            return "".join(nodes.write_all(self._statements, nodes.Scope(document)))
        except TemplateError as e:
            raise ExitError(f"{self._failed}: template: {self._name}:1:{e}") from e


def one(template: str, document: Any, name: str = "") -> str:
    """What `--format` makes of a single document: `json`, or a template."""
    if template == "json":
        return jsontext.dumps(document)
    return Program(template, name).render(document)
