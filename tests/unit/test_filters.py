import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.filters import Filters, InvalidFilter

names = st.dictionaries(
    st.text(max_size=8), st.lists(st.text(max_size=8), unique=True, max_size=4), max_size=4
)


@given(names)
def test_both_json_forms_mean_the_same(values):
    listed = Filters.parse(json.dumps(values))
    mapped = Filters.parse(json.dumps({name: dict.fromkeys(of, True) for name, of in values.items()}))
    assert dict(listed) == dict(mapped) == {name: tuple(of) for name, of in values.items()}


@pytest.mark.parametrize("text", ["x", "[]", "1", '{"a": 1}', '{"a": [1]}', '{"a": {"b": 1}}', "[" * 100_000])
def test_other_json_is_refused(text):
    with pytest.raises(InvalidFilter, match="^invalid filter$"):
        Filters.parse(text)


def test_no_filters():
    for text in ("", "null", "{}"):
        assert dict(Filters.parse(text)) == {}
        assert Filters.parse(text).exact("status", "running")


def test_unknown_names():
    with pytest.raises(InvalidFilter, match="^invalid filter 'shape'$"):
        Filters({"shape": ["round"]}).validate({"status"})


def test_matching():
    filters = Filters({"name": ["^/we", "x+"], "status": ["running"], "id": ["ab"], "broken": ["("]})
    assert filters.match("name", "/web")
    assert filters.match("name", "boxx")
    assert not filters.match("name", "/db")
    assert filters.exact("status", "running")
    assert not filters.exact("status", "run")
    assert filters.prefix("id", "abc")
    assert not filters.prefix("id", "cab")
    assert not filters.match("broken", "x")


def test_labels_must_all_match():
    filters = Filters({"label": ["a", "b=2"]})
    assert filters.match_labels("label", {"a": "1", "b": "2"})
    assert not filters.match_labels("label", {"a": "1", "b": "3"})
    assert not filters.match_labels("label", {"b": "2"})
    assert filters.match_labels("other", {})


def test_booleans():
    assert Filters({"dangling": ["true"]}).boolean("dangling", False)
    assert not Filters({"dangling": ["0"]}).boolean("dangling", True)
    assert Filters().boolean("dangling", True)
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(InvalidFilter, match=r"^invalid filter 'dangling=\["):
            Filters({"dangling": values}).boolean("dangling", True)


def test_a_bad_value_is_shown():
    assert str(InvalidFilter("status", ["nosuch"])) == "invalid filter 'status=nosuch'"


def test_one():
    assert Filters({"until": ["1h"]}).one("until") == "1h"
    assert Filters().one("until") is None
    with pytest.raises(InvalidFilter):
        Filters({"until": ["1h", "2h"]}).one("until")


def test_a_hostile_expression_ends():
    assert not Filters({"name": ["(a+)+$"]}).match("name", "a" * 200 + "b")
