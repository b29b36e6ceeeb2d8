"""What can be wrong with a Dockerfile."""

from __future__ import annotations

from collections.abc import Iterable

from corten.errors import InvalidParameter


class DockerfileError(InvalidParameter):
    """The Dockerfile is wrong; `line` and `end_line` (from 1) say where, if known.

    Docker has two wordings: an instruction's error names its line in the text (`located`), an error of
    the text's structure (an unterminated heredoc, say) does not.
    """

    def __init__(self, message: str, *, line: int = 0, end_line: int = 0, located: bool = True) -> None:
        prefix = f"dockerfile parse error on line {line}: " if located and line else ""
        super().__init__(prefix + message)
        self.message = message
        self.line = line
        self.end_line = end_line or line
        self.located = located


MAX_SUGGESTION_DISTANCE = 2


def suggest(message: str, word: str, options: Iterable[str]) -> str:
    """Add ` (did you mean X?)` to `message` if one of `options` is at most two edits away from `word`.

    The case of the suggestion follows that of `word`.

    >>> suggest("unknown instruction: FOO", "FOO", ["run", "from"])
    'unknown instruction: FOO (did you mean FROM?)'
    """
    best = nearest(word.lower(), [option.lower() for option in options])
    if not best:
        return message
    return f"{message} (did you mean {best.upper() if word.isupper() else best}?)"


def nearest(word: str, options: Iterable[str]) -> str:
    """Of the options the first that is fewest edits away, at most two; "" if none is, or it is `word`.

    Among equally near ones, letters in another order are the likelier slip.

    >>> nearest("parameter", ["perimeter", "parametre"]), nearest("rnu", ["env", "run"])
    ('parametre', 'run')
    """
    letters = sorted(word)
    ranked = sorted(
        (edit_distance(word, option), sorted(option) != letters, index, option)
        for index, option in enumerate(options)
    )
    return ranked[0][3] if ranked and 0 < ranked[0][0] <= MAX_SUGGESTION_DISTANCE else ""


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance of two strings; if it is more than MAX_SUGGESTION_DISTANCE, just more than that.

    Whoever writes a Dockerfile chooses both, of any length: only what can still be near enough is looked at.
    """
    most = MAX_SUGGESTION_DISTANCE
    if abs(len(a) - len(b)) > most:
        return most + 1
    row = {j: j for j in range(most + 1)}
    for i, x in enumerate(a, 1):
        above, row = row, {}
        for j in range(max(0, i - most), min(len(b), i + most) + 1):
            replaced = above.get(j - 1, most) + (x != b[j - 1 : j])
            row[j] = min(replaced, above.get(j, most) + 1, row.get(j - 1, most) + 1)
        if min(row.values()) > most:
            return most + 1
    return row[len(b)]
