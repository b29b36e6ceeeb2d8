"""Where we differ from dockerd 26.1.5 on purpose: each entry says what and why, and nothing else may differ.

A replacement is applied to the recording before it is compared; a line of a scenario is left out altogether
only if no part of its answer can agree.
"""

import re

# (what dockerd says, what we say): the same event in our words
REPLACEMENTS: list[tuple[re.Pattern[str], str]] = [
    # We serve API 1.51 where dockerd 26.1.5 serves 1.45.
    (re.compile(r"Maximum supported API version is 1\.45"), "Maximum supported API version is 1.51"),
]

# (scenario, line): why it cannot agree
LEFT_OUT: dict[tuple[str, str], str] = {}


def as_ours(text: str) -> str:
    """dockerd's recorded output as Corten would say it."""
    for pattern, replacement in REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text
