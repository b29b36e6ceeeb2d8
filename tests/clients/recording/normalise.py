"""Take out of an output what differs from run to run: ids, times, durations, addresses, ports, paths."""

import re

_IDS = re.compile(r"\b[0-9a-f]{64}\b|(?<![:.])\b[0-9a-f]{12}\b")
_RULES = [
    (
        re.compile(r"(?!0001-)\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d( [A-Z]{3})?|Z)"),
        "<time>",
    ),
    (
        re.compile(
            r"\b(Less than a second|About an? (minute|hour)|\d+ (second|minute|hour|day|week|month|year)s?)\b"
        ),
        "<duration>",
    ),
    (re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "<mac>"),
    (re.compile(r"\b(172\.\d+|192\.168|10\.\d+)\.\d+\.\d+\b"), "<ip>"),
    (re.compile(r"(?<=:)(3[2-9]|4[0-9]|5[0-9]|6[0-5])\d{3}\b"), "<port>"),
    (re.compile(r"\b(DEPRECATED: The legacy builder).*(?:\n +.*)*"), r"\1"),
    (re.compile(r"\x1b\[0m\x1b\[91m"), ""),  # how many writes a line of stderr took
    (re.compile(r"docker-import-\d+"), "docker-import-<n>"),
    (re.compile(r" {3,}"), "  "),  # column widths follow the widths of what was replaced
]


class Normaliser:
    """Knows one scenario's ids: the same id gets the same name wherever it appears, long or short."""

    def __init__(self, known: dict[str, str]) -> None:
        """known: text (an id, a path) -> the name it gets."""
        self._literals = {text: name for text, name in known.items() if not _IDS.fullmatch(text)}
        self._ids = {text[:12]: name for text, name in known.items() if _IDS.fullmatch(text)}

    def __call__(self, text: str) -> str:
        """The text with everything transient replaced by `<what it was>`."""
        for literal, name in self._literals.items():
            text = text.replace(literal, name)
        text = _IDS.sub(self._name_id, text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text

    def _name_id(self, match: re.Match[str]) -> str:
        name = self._ids.setdefault(match[0][:12], f"id {len(self._ids) + 1}")
        return f"<{name}>" if len(match[0]) == 64 else f"<{name}, short>"
