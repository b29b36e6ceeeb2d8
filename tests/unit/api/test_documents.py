# ruff: noqa: E501
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api import documents
from corten.errors import InvalidParameter
from corten.types.container import CreateRequest, HostConfig
from corten.types.exec import ExecConfig

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Cmd", "HostConfig", "Binds", "PortBindings", "Env", "80/tcp", "Labels", "Memory"]), inner, max_size=4
    ),
)  # fmt: skip


@given(values)
def test_any_json_is_taken_or_refused(value):
    try:
        documents.decode(json.dumps(value).encode(), CreateRequest)
    except InvalidParameter as error:
        assert str(error).startswith("invalid JSON: ")


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(data):
    try:
        documents.decode(data, CreateRequest)
    except InvalidParameter:
        pass


def test_what_was_forgiven_is_what_would_have_been_right():
    forgiven = documents.decode(b'{"Cmd": "x", "User": null, "HostConfig": {"Memory": null}}', CreateRequest)
    assert forgiven == CreateRequest(cmd=["x"], host_config=HostConfig())
    assert documents.decode(b'{"Cmd": "x"}', ExecConfig).cmd == ["x"]
    assert documents.decode(b"null", ExecConfig) == ExecConfig()


@pytest.mark.parametrize(
    "data",
    [
        b'{"cmd": ["x"], "detachKeys": "ctrl-p"}',
        b'{"CMD": ["x"], "detachkeys": "ctrl-p"}',
        b'{"cmd": "x", "DetachKeys": "ctrl-p"}',
    ],
)
def test_names_may_be_written_in_any_case(data):
    """As Go reads them; docker-py sends detachKeys."""
    assert documents.decode(data, ExecConfig) == ExecConfig(cmd=["x"], detach_keys="ctrl-p")


def test_keys_of_maps_are_not_names():
    data = b'{"Labels": {"user": "a", "User": "b"}, "HostConfig": {"LogConfig": {"Config": {"type": "c"}}}}'
    read = documents.decode(data, CreateRequest)
    assert read.labels == {"user": "a", "User": "b"}
    assert read.host_config.log_config.config == {"type": "c"}


@pytest.mark.parametrize("data", [b'{"Cmd": 1}', b'{"Cmd": [1]}', b'{"Cmd": {"a": "b"}}'])
def test_but_not_everything_is_forgiven(data):
    with pytest.raises(
        InvalidParameter,
        match=r"invalid JSON: json: cannot unmarshal .* field ContainerConfigWrapper.Config.Cmd",
    ):
        documents.decode(data, CreateRequest)


def test_fast_path_and_slow_path_agree():
    plain = {"Image": "x", "Labels": {"a": "b"}, "HostConfig": {"Binds": ["/a:/b"], "ConsoleSize": [1, 2]}}
    fast = documents.decode(json.dumps(plain).encode(), CreateRequest)
    slow = documents.decode(json.dumps({**plain, "User": None}).encode(), CreateRequest)
    assert msgspec.json.encode(fast) == msgspec.json.encode(slow)


@pytest.mark.parametrize(
    "text",
    [
        '{"HOSTCONFIG": {"pRIVILEGED": true}}',
        '{"\\u0048OSTCONFIG": {"Privileged": true}}',
        '{"Ho\u017ftConfig": {"Privileged": true}}',
    ],
)
def test_names_are_taken_however_go_would_take_them(text):
    """An authorization plugin in Go does: what it sees is what is done."""
    decoded = documents.decode(text.encode(), CreateRequest)
    assert decoded.host_config.privileged is True


@pytest.mark.parametrize("other", ["hostconfig", "HOSTCONFIG", "\\u0068ostConfig", "Ho\u017ftConfig"])
def test_no_name_is_there_in_two_spellings(other):
    text = f'{{"HostConfig": {{"Privileged": true}}, "{other}": {{"Privileged": false}}}}'
    with pytest.raises(InvalidParameter, match="invalid JSON: HostConfig is there more than once"):
        documents.decode(text.encode(), CreateRequest)


def test_names_of_the_users_own_may_differ_in_case_only():
    assert documents.decode(b'{"Labels": {"a": "1", "A": "2"}, "cmd": ["x"]}', CreateRequest).labels == {
        "a": "1",
        "A": "2",
    }
