import pytest

from corten import errors
from corten.api.status import answer_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NoSuchContainer("x"), 404),
        (errors.InvalidParameter("x"), 400),
        (errors.Conflict("x"), 409),
        (errors.Unauthorized("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotSupported("x"), 501),
        (errors.Unavailable("x"), 503),
        (errors.InternalError("x"), 500),
        (errors.CortenError("x"), 500),
    ],
)
def test_kinds(error, status):
    answer = answer_of(error)
    assert answer.status == status
    assert answer.body == b'{"message":"%s"}\n' % str(error).encode()


def test_not_modified_has_no_body():
    assert (answer_of(errors.NotModified("x")).status, answer_of(errors.NotModified("x")).body) == (304, b"")
