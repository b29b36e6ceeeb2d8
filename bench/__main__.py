"""Measure Corten beside dockerd, podman, crun and the floor: `script/bench --help`."""

import argparse
import sys
from pathlib import Path

import memory as memory_of
import report
from cases import Case, all_cases
from contenders import TOP, Contenders

QUIET_PERCENT = 10
Samples = dict[tuple[str, str], list[list[float]]]


def cpu_pressure() -> float:
    """Percent of the last ten seconds in which somebody waited for a CPU (the kernel's psi.rst)."""
    try:
        return float(Path("/proc/pressure/cpu").read_text().split("avg10=")[1].split()[0])
    except (OSError, IndexError):
        return 0.0


def measure(cases: list[Case], rounds: int) -> Samples:
    """Every case in every round, one after another: what disturbs the machine disturbs all of them."""
    samples: Samples = {}
    for case in cases:
        case.sample(case.batch)  # warm: caches, pools, page cache
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for case in cases:
            samples.setdefault((case.name, case.who), []).append(case.sample(case.batch))
    return samples


def measure_memory(contenders: Contenders) -> dict[str, float]:
    """Bytes of PSS for a further container, by engine."""
    found = {
        "dockerd": memory_of.per_container_bytes(contenders.docker_socket, int(contenders.peers["PEERS_PID"]))
    }
    if contenders.corten is not None:
        found["corten"] = memory_of.per_container_bytes(
            contenders.corten_socket, contenders.corten.sandbox.pid
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    parser.add_argument("--only", default="", help="cases whose name or contender contains this")
    parser.add_argument("--no-memory", action="store_true", help="leave out the 200 sleepers")
    parser.add_argument("--no-corten", action="store_true", help="the peers alone")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    pressure = cpu_pressure()
    contenders = Contenders(with_corten=not arguments.no_corten)
    try:
        cases = [case for case in all_cases(contenders) if arguments.only in f"{case.name} {case.who}"]
        samples = measure(cases, arguments.rounds)
        memory = {} if arguments.no_memory else measure_memory(contenders)
        versions = contenders.versions()
    finally:
        contenders.close()
    results = report.medians(samples)
    text = report.table(results, memory, versions)
    path = report.write(TOP / "bench" / "out", samples, memory, versions)
    print(text, "", *report.verdicts(results, memory), f"\nsamples: {path.relative_to(TOP)}", sep="\n")
    if pressure > QUIET_PERCENT:
        print(f"\nThe machine was busy before we began (CPU pressure {pressure:.0f} %): measure again.")
    if arguments.readme:
        report.update_readme(TOP / "README.md", text)


main()
