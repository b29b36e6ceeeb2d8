import json

from hypothesis import given
from hypothesis import strategies as st

from corten.wire import jsonstream


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20)))
def test_escaping_changes_nothing_but_the_bytes(value):
    line = jsonstream.progress_line(value)
    assert line.endswith(b"\r\n")
    assert not set(b"<>&") & set(line)
    assert json.loads(line) == value


def test_as_go_writes_it():
    assert jsonstream.progress_line({"stream": " ---> x\n"}) == b'{"stream":" ---\\u003e x\\n"}\r\n'
    assert jsonstream.line({"a": "<"}) == b'{"a":"<"}\n'
