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
    """Levenshtein's distance of two strings; stops counting at the difference of their lengths if large."""
    if abs(len(a) - len(b)) > MAX_SUGGESTION_DISTANCE:
        return abs(len(a) - len(b))
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
