"""From samples to a table, a JSON file and the README's section."""

import json
import statistics
import time
from pathlib import Path

Results = dict[str, dict[str, float]]  # case -> who -> median

# (what the issue asks for, case and who on top, case and who below, at least)
TARGETS = [
    ("API, none: dockerd / corten", ("API, none", "dockerd"), ("API, none", "corten"), 25),
    ("API, bridge: dockerd / corten", ("API, bridge", "dockerd"), ("API, bridge", "corten"), 40),
    ("docker CLI, none", ("docker run, none", "dockerd"), ("docker run, none", "corten"), 10),
    ("docker CLI, bridge", ("docker run, bridge", "dockerd"), ("docker run, bridge", "corten"), 10),
    (
        "corten run / docker run, bridge",
        ("docker run, bridge", "dockerd"),
        ("own CLI run, bridge", "corten"),
        12,
    ),
    ("in flight: corten / dockerd", ("10 in flight", "corten"), ("10 in flight", "dockerd"), 25),
    ("exec true: dockerd / corten", ("exec true", "dockerd"), ("exec true", "corten"), 15),
    *(
        (f"{stream}: corten / dockerd", (stream, "corten"), (stream, "dockerd"), 1)
        for stream in ("exec stream out", "exec stream in", "attach stream out")
    ),
    ("in flight: corten / crun", ("10 in flight", "corten"), ("10 in flight", "crun"), 2),
]
AT_MOST = [
    ("API none / floor in C", ("API, none", "corten"), ("API, none", "floor in C"), 2.5),
]
MEMORY_KB_AT_MOST = 50


# More is better: words in the names of such cases, and what they count.
_RATES = {"in flight": " (containers/s)", "logs": " (MB/s)", "stream": " (MB/s)"}


def medians(samples: dict[tuple[str, str], list[list[float]]]) -> Results:
    """The median of the rounds' medians, case by case."""
    results: Results = {}
    for (name, who), rounds in samples.items():
        results.setdefault(name, {})[who] = statistics.median(statistics.median(taken) for taken in rounds)
    return results


def ratio(results: Results, above: tuple[str, str], below: tuple[str, str]) -> float | None:
    """above / below, or None where one was not measured."""
    try:
        return results[above[0]][above[1]] / results[below[0]][below[1]]
    except KeyError:
        return None


def table(results: Results, memory: dict[str, float], versions: dict[str, str]) -> str:
    """Markdown: a row a case, a column a contender, and the ratio to dockerd."""
    columns = ["corten", "dockerd", "podman", "crun", "floor in C"]
    rows = ["| | " + " | ".join(columns) + " | dockerd / corten |", "|---|" + "---:|" * (len(columns) + 1)]
    for name, by in results.items():
        unit = next((unit for word, unit in _RATES.items() if word in name), " (ms)")
        cells = [_number(by.get(who)) for who in columns]
        theirs, ours = by.get("dockerd"), by.get("corten")
        if "own CLI" in name:
            theirs = results.get(name.replace("own CLI", "docker"), {}).get("dockerd")
        factor = (
            None if not theirs or not ours else ours / theirs if unit in _RATES.values() else theirs / ours
        )
        rows.append(f"| {name}{unit} | " + " | ".join(cells) + f" | {_times(factor)} |")
    if memory:
        cells = [_number(memory[who] / 1024) if who in memory else "" for who in columns]
        factor = memory["dockerd"] / memory["corten"] if len(memory) == 2 and memory["corten"] > 0 else None
        rows.append(
            "| memory of a further container (kB PSS) | " + " | ".join(cells) + f" | {_times(factor)} |"
        )
    names = ("dockerd", "podman", "crun", "docker CLI", "python", "kernel")
    rows += [
        "",
        f"{', '.join(f'{name} {versions[name]}' for name in names)}; {versions['cores']} cores; medians.",
    ]
    return "\n".join(rows)


def verdicts(results: Results, memory: dict[str, float]) -> list[str]:
    """The targets, one line each, met or not."""
    lines = []
    for text, above, below, wanted in TARGETS:
        found = ratio(results, above, below)
        if found is not None:
            lines.append(
                f"{'met   ' if found >= wanted else 'MISSED'} {text}: {found:.1f}x (at least {wanted}x)"
            )
    for text, above, below, wanted in AT_MOST:
        found = ratio(results, above, below)
        if found is not None:
            lines.append(
                f"{'met   ' if found <= wanted else 'MISSED'} {text}: {found:.2f}x (at most {wanted}x)"
            )
    if "corten" in memory:
        kilobytes = memory["corten"] / 1024
        met = "met   " if kilobytes <= MEMORY_KB_AT_MOST else "MISSED"
        lines.append(
            f"{met} memory of a further container: {kilobytes:.1f} kB (at most {MEMORY_KB_AT_MOST} kB)"
        )
    return lines


def write(
    directory: Path,
    samples: dict[tuple[str, str], list[list[float]]],
    memory: dict[str, float],
    versions: dict[str, str],
) -> Path:
    """All samples as JSON, named by the time."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / time.strftime("%Y%m%d-%H%M%S.json")
    document = {
        "versions": versions,
        "samples": [{"case": name, "who": who, "rounds": rounds} for (name, who), rounds in samples.items()],
        "memory_bytes_per_container": memory,
        "medians": medians(samples),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def update_readme(readme: Path, text: str, bench: str = "bench") -> None:
    """Put the table of `script/<bench>` between its marks."""
    begin, end = f"<!-- {bench}:begin (script/{bench} writes this) -->", f"<!-- {bench}:end -->"
    before, mark, rest = readme.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if not mark:
        raise ValueError(f"{readme} has no place for the table of {bench}")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _times(factor: float | None) -> str:
    return "" if factor is None else f"**{factor:.0f}x**"
