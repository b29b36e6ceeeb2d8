"""Lists of things: aligned columns, Go templates, JSON lines, or only ids."""

from __future__ import annotations

from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_MIN_COLUMN = 10
_GAP = 3


class Row(dict[str, "Any"]):
    """The fields of one thing in a list; callable ones are methods (`{{.Label "x"}}`)."""

    __slots__ = ()

    def json(self) -> str:
        """The row as Docker prints it: fields in order, no methods, HTML escaped as Go does by default."""
        fields = {key: value for key, value in sorted(self.items()) if not callable(value)}
        return jsontext.escape_html(jsontext.dumps(fields))


class Listing:
    """How rows of one kind are shown: `columns` of the default table, and the `headers` of every field."""

    __slots__ = ("columns", "headers")

    def __init__(self, columns: Sequence[str], headers: dict[str, str]) -> None:
        self.columns = columns
        self.headers = headers

    def text(self, rows: Iterable[Row], template: str = "", columns: Sequence[str] = ()) -> str:
        """Everything to print. `template` is what `--format` takes: `table`, `table T`, `json`, or T."""
        if template in ("", "table"):
            shown = columns or self.columns
            lines = [[self.headers[c] for c in shown]]
            lines += [[str(row[c]) for c in shown] for row in rows]
            return align(lines)
        if template == "json":
            return "".join(row.json() + "\n" for row in rows)
        from corten.cli.template import render

        as_table = template.startswith("table")
        source = template.removeprefix("table").strip() if as_table else template
        program = render.Program(source, listing=True)
        texts = [program.render(row) for row in rows]
        if not as_table:
            return "".join(text + "\n" for text in texts)
        return align([text.split("\t") for text in (program.render(self._header_row()), *texts)])

    def _header_row(self) -> Row:
        """Headers in the place of values; methods such as Label show their argument."""
        return Row(self.headers, Label=str)


def align(lines: list[list[str]], least: int = _MIN_COLUMN) -> str:
    """Columns padded as Docker's tables are: at least so wide, three blanks apart, the last one open."""
    widths: list[int] = []
    for line in lines:
        for at, cell in enumerate(line[:-1]):
            if at == len(widths):
                widths.append(least)
            widths[at] = max(widths[at], len(cell) + _GAP)
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )


def ellipsis(text: str, limit: int) -> str:
    """Cut to `limit` characters, the last one being an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_id(text: str) -> str:
    """The twelve digits that Docker shows of ids and digests."""
    return text.partition(":")[2][:12] if text.startswith("sha256:") else text[:12]
