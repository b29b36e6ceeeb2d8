"""The route table against Docker's operations."""

import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from corten.api.endpoints import Services, endpoints
from corten.api.request import Request
from corten.api.router import PageNotFound, Router

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def router() -> Router:
    nobody = dict.fromkeys(field.name for field in fields(Services))
    return Router(endpoints(Services(**nobody)))


def request(method: str, path: str) -> Request:
    return Request(None, method.encode(), path.encode(), {}, None)


def test_every_operation_of_the_specification_has_a_route(router):
    for line in (ROOT / "script" / "engine-api-operations.txt").read_text().splitlines():
        _, method, path = line.split("\t")
        for version in ("", "/v1.51"):
            found = router.find(request(method, version + path.replace("{id}", "x").replace("{name}", "a/b")))
            assert found.method == method
            assert found.template.replace("{name}", "{id}") == path.replace("{name}", "{id}")


@pytest.mark.parametrize(
    ("method", "path", "template", "params"),
    [
        ("GET", "/images/a/b/c:1/json", "/images/{name}/json", ("a/b/c:1",)),
        ("GET", "/images/json/json", "/images/{name}/json", ("json",)),
        ("GET", "/images/json", "/images/json", ()),
        ("GET", "/images/get", "/images/get", ()),
        ("DELETE", "/images/a/json", "/images/{name}", ("a/json",)),
        ("GET", "/containers/%2Fname/json", None, ()),
        ("DELETE", "/containers/x%20y", "/containers/{name}", ("x y",)),
        ("DELETE", "/containers/user/alias", "/containers/{name}", ("user/alias",)),
        (
            "DELETE",
            "/containers/a/checkpoints/b",
            "/containers/{id}/checkpoints/{checkpoint}",
            ("a", "b"),
        ),
        ("GET", "/v1.30/containers/v1.30/json", "/containers/{id}/json", ("v1.30",)),
        ("GET", "/v1.51/%69nfo", "/info", ()),
        ("GET", "/images/a%2525/json", "/images/{name}/json", ("a%25",)),
        ("GET", "/images/http://x/json", "/images/{name}/json", ("http://x",)),
        ("GET", "/versionx", None, ()),
        ("GET", "/containers//json", None, ()),
        ("DELETE", "/containers/", None, ()),
        ("GET", "/containers/a/attach/ws", "/containers/{id}/attach/ws", ("a",)),
        ("GET", "/containers//attach/ws", None, ()),
    ],
)
def test_matching(router, method, path, template, params):
    one = request(method, path)
    if template is None:
        with pytest.raises(PageNotFound):
            router.find(one)
        return
    assert router.find(one).template == template
    assert one.params == params


def test_operations_younger_than_the_client_are_unknown(router):
    assert router.find(request("POST", "/v1.25/containers/prune"))
    with pytest.raises(PageNotFound):
        router.find(request("POST", "/v1.24/containers/prune"))


def test_the_compatibility_page_is_up_to_date():
    done = subprocess.run([ROOT / "script" / "compatibility", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
