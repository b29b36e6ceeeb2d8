"""What commands that list things have in common: `--quiet`, `--format`, and a format of the user's own."""

from __future__ import annotations

from corten.cli.context import Context, out
from corten.cli.flags import Options
from corten.cli.table import Listing, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def show(
    context: Context,
    options: Options,
    listing: Listing,
    rows: Iterable[Row],
    *,
    quiet: str,
    setting: str,
    columns: Sequence[str] = (),
) -> int:
    """Print the rows; the exit code.

    quiet: the field that `--quiet` shows alone, unless `--format` says more. setting: what config.json has
    in place of a `--format` that is not given. columns: other ones than the listing's.
    """
    if options.on("quiet") and not options["format"]:
        out("".join(f"{row[quiet]}\n" for row in rows))
    else:
        out(listing.text(rows, options["format"] or str(context.config().get(setting, "")), columns))
    return 0
