"""The ledger and the blob store when the power fails in the middle of a write: old or new, never between."""

import random
import time

from bootimages import make_disk
from machine import Machine

JOB = "exec python3 tests/vm/guest/power_cut.py {last} {option}"
ROUNDS = 3


def last_acknowledged(machine, last, *, enough=None):
    """Number of the last entry said to be safe, of those up to `enough` or all there is to read."""
    for line in machine.lines():
        word, _, number = line.partition(" ")
        if word == "acknowledged":
            last = int(number)
            if last == enough:
                break
        else:
            assert word == "intact", line + machine.wait().output
    return last


def test_ledger_and_blobs_survive_power_cuts(tmp_path):
    rng = random.Random(20)
    disk = make_disk(tmp_path / "disk.img", "256M")
    last = -1
    for number in range(ROUNDS):
        job = JOB.format(last=last, option="")
        enough = last + rng.randint(15, 60)
        with Machine(tmp_path / f"machine{number}", job, disk=disk) as machine:
            last = last_acknowledged(machine, last, enough=enough)
            time.sleep(rng.random() / 20)  # so that the cut comes anywhere in the next entries
            machine.pull_the_plug()
            last = last_acknowledged(machine, last)  # said before the cut, heard after it
        assert last >= enough, machine.kernel_messages()
    with Machine(tmp_path / "last", JOB.format(last=last, option="--check-only"), disk=disk) as machine:
        result = machine.wait()
    assert result.code == 0, result.output + machine.kernel_messages()
    assert result.output.startswith("intact ")
    assert result.output.endswith("unsynced 0\n"), "the machine was not really cut off"
