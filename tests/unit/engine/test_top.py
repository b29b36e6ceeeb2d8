import asyncio
import os

import pytest

from corten.engine.containers.top import parse, processes
from corten.errors import InternalError, InvalidParameter


def test_default_columns_of_this_process():
    answer = asyncio.run(processes([os.getpid()], ""))
    assert answer.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    (row,) = answer.processes
    assert row[1:3] == [str(os.getpid()), str(os.getppid())]
    assert "pytest" in row[-1]


def test_who_has_ended_is_left_out():
    assert asyncio.run(processes([2**22 + 1], "-ef")).processes == []


def test_other_columns_come_from_ps():
    answer = asyncio.run(processes([os.getpid()], "-o pid,ppid,args"))
    assert answer.titles == ["PID", "PPID", "COMMAND"]
    assert [row[:2] for row in answer.processes] == [[str(os.getpid()), str(os.getppid())]]


def test_options_that_do_not_go_with_a_choice_of_processes():
    answer = asyncio.run(processes([os.getpid()], "-ef f"))
    assert [row[1] for row in answer.processes] == [str(os.getpid())]


def test_refusals():
    with pytest.raises(InvalidParameter, match='specifying "pid=PID" is not allowed'):
        asyncio.run(processes([1], "-o pid=PID"))
    with pytest.raises(InternalError, match="Couldn't find PID field in ps output"):
        asyncio.run(processes([os.getpid()], "-o comm"))
    with pytest.raises(InternalError, match=r"^ps: "):
        asyncio.run(processes([os.getpid()], "--bogus"))


def test_the_last_column_keeps_its_blanks():
    answer = parse("  PID COMMAND\n    7 sh -c a  b\n    8 other\n", frozenset("7"))
    assert answer.processes == [["7", "sh -c a  b"]]


def test_threads_belong_to_the_process_above_them():
    output = "PID TID CMD\n7 - a\n- 7 -\n- 9 -\n8 - b\n- 8 -\n"
    assert parse(output, frozenset("7")).processes == [["7", "-", "a"], ["-", "7", "-"], ["-", "9", "-"]]
