"""Texts of flags to values, with the errors that Go's parsers give."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_SIZE_UNITS = "kmgtp"
_DURATION_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def parse(kind: str, text: str) -> object:
    """The value of a flag of this kind; texts stay texts. Raises ValueError with Go's text."""
    parser = _PARSERS.get(kind)
    return parser(text) if parser else text


def boolean(text: str) -> bool:
    """Parse as strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def integer(text: str) -> int:
    """Parse a signed 64-bit number as strconv.ParseInt with base 0."""
    return _number(text, "ParseInt", -(1 << 63), (1 << 63) - 1)


def _uint(text: str) -> int:
    return _number(text, "ParseUint", 0, (1 << 64) - 1)


def _uint16(text: str) -> int:
    return _number(text, "ParseUint", 0, (1 << 16) - 1)


def _number(text: str, function: str, low: int, high: int) -> int:
    try:
        if text.strip() != text or (low == 0 and text[:1] in "+-"):
            raise ValueError
        value = int(text, 8) if len(text) > 1 and text[0] == "0" and text.isdigit() else int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
    if not low <= value <= high:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def size(text: str) -> int:
    """Parse a size in bytes as go-units RAMInBytes does: 1024-based, `64m`, `1.5GiB`, `512`."""
    end = max(map(text.rfind, "0123456789. ")) + 1
    suffix = text[end:].lower()
    try:
        value = float(text[:end].removesuffix(" "))
        if value < 0 or text.strip() != text or "_" in text:
            raise ValueError
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if suffix in ("", "b"):
        return int(value)
    unit = suffix[0] if suffix[1:] in ("", "b", "ib") else ""
    if not unit or unit not in _SIZE_UNITS:
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * 1024 ** (_SIZE_UNITS.index(unit) + 1))


def _swap(text: str) -> int:
    return -1 if text == "-1" else size(text)


def duration(text: str) -> int:
    """Parse a duration as Go's time.ParseDuration (`1h30m`, `250ms`); nanoseconds."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total = 0.0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµμmsh"))]
        unit = next((u for u in ("ns", "us", "µs", "μs", "ms", "s", "m", "h") if unit == u), unit)
        if digits.strip(".") == "" or digits.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            unknown = rest[
                : len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
            ]
            problem = f'unknown unit "{unknown}"' if unknown else "missing unit"
            raise ValueError(f'time: {problem} in duration "{text}"')
        if unit not in _DURATION_UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(digits) * _DURATION_UNITS[unit]
        rest = rest[len(unit) :]
    return int(-total if text[0] == "-" else total)


def nano_cpus(text: str) -> int:
    """Parse `--cpus`: a decimal number of processors, in billionths."""
    whole, _, part = text.partition(".")
    if not (whole + part).isdigit():
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(part.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return int(whole or "0") * 10**9 + int((part + "0" * 9)[:9])


_PARSERS: dict[str, Callable[[str], object]] = {
    "bool": boolean,
    "int": integer,
    "int64": integer,
    "uint": _uint,
    "uint16": _uint16,
    "bytes": size,
    "swap": _swap,
    "duration": duration,
    "decimal": nano_cpus,
}
