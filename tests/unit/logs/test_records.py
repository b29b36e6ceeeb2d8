from corten.logs.records import Formatter, LogQuery, Record, fixed_time, fixed_time_ns, parse_lines

LINE = b'{"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.5Z"}\n'


def test_times_have_nine_digits_and_sort_as_text():
    assert fixed_time("2026-01-02T03:04:05.5Z") == "2026-01-02T03:04:05.500000000Z"
    assert fixed_time("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05.000000000Z"
    assert fixed_time_ns(1_767_323_045_500_000_001) == "2026-01-02T03:04:05.500000001Z"


def test_torn_lines_are_left_out_and_the_rest_is_read():
    torn = b'{"log":"half a li' + LINE + b"\0\0\0\n" + LINE
    assert [record.log for record in parse_lines(LINE + torn)] == ["hello\n", "hello\n"]


def test_an_object_glued_to_zeros_of_a_power_cut_is_found():
    assert [record.log for record in parse_lines(b"\0\0" + LINE)] == ["hello\n"]


def records(*texts, stream="stdout"):
    return [Record(text, stream, f"2026-01-01T00:00:0{n}Z") for n, text in enumerate(texts)]


def test_streams_are_selected():
    both = records("a\n") + records("b\n", stream="stderr")
    assert Formatter(LogQuery()).select(both) == [(1, b"a\n"), (2, b"b\n")]
    assert Formatter(LogQuery(stdout=False)).select(both) == [(2, b"b\n")]


def test_timestamps_stand_only_where_a_line_begins():
    shown = Formatter(LogQuery(timestamps=True)).select(records("long", " line\n", "next\n"))
    assert b"".join(data for _, data in shown) == (
        b"2026-01-01T00:00:00.000000000Z long line\n2026-01-01T00:00:02.000000000Z next\n"
    )


def test_details_are_sorted_and_escaped():
    record = Record("x\n", "stdout", "2026-01-01T00:00:00Z", {"b": "2 3", "a": "1"})
    assert Formatter(LogQuery(details=True)).select([record]) == [(1, b"a=1,b=2+3 x\n")]
    assert Formatter(LogQuery(details=True)).select(records("y\n")) == [(1, b" y\n")]


def test_since_and_until_are_inclusive():
    second = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
    formatter = Formatter(LogQuery(since_ns=second + 10**9, until_ns=second + 2 * 10**9))
    assert formatter.select(records("0", "1", "2", "3")) == [(1, b"1"), (1, b"2")]
    assert formatter.is_past_until()
