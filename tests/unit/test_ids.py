import random

from corten import ids


def test_ids_are_never_numbers():
    made = {ids.new_id() for _ in range(500)}
    assert len(made) == 500
    assert all(ids.is_id(one) and not ids.short_id(one).isdigit() for one in made)


def test_short_ids():
    assert ids.short_id("sha256:" + "ab" * 32) == "ab" * 6
    assert ids.is_id_prefix("0a1")
    assert not ids.is_id_prefix("")
    assert not ids.is_id_prefix("xyz")
    assert not ids.is_id("ab")


def test_invented_names_fit_docker_s_grammar():
    source = random.Random(1)
    names = {ids.invent_name(source) for _ in range(200)}
    assert len(names) > 150
    assert all(name.replace("_", "").isalpha() and name.islower() for name in names)
    assert ids.invent_name(source, attempt=1)[-1].isdigit()
