"""The client's directories in a build."""

from types import SimpleNamespace

import pytest

from corten.builder.graph import (
    SCRATCH,
    BindMount,
    CacheMount,
    CopyAction,
    Exec,
    File,
    LocalSource,
    Vertex,
)
from corten.builder.session import Session
from corten.buildkit.contexts import LocalContext


def test_a_frontend_that_is_asked_again_has_a_context_of_its_own(tmp_path):
    """What it takes of the same directory may be other files."""
    session = Session(str(tmp_path), None)
    bench = SimpleNamespace(session=session, client=None, progress=None, kept=None, workers=None)
    ops = [LocalContext(bench, "context", "load build context").vertex.op for _ in range(2)]
    assert all(isinstance(op, LocalSource) for op in ops)
    assert len({op.key for op in ops} & session.fetched.keys()) == 2


def copy(source):
    return File(actions=(CopyAction(input=1, sources=(source,), destination="/"),))


@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        (copy("/f"), {"f"}),
        (copy("/.env"), {".env"}),
        (copy("/..f/.g"), {"..f/.g"}),
        (copy("/d/*"), {"d/*"}),
        (copy("/"), None),
        (Exec(args=("x",), mounts=(BindMount(input=1, source="/.d", target="/t"),)), {".d"}),
        (Exec(args=("x",), mounts=(CacheMount(id="c", input=1, source="/d", target="/t"),)), {"d"}),
    ],
)
def test_what_is_asked_for_is_what_a_build_takes(tmp_path, op, wanted):
    bench = SimpleNamespace(
        session=Session(str(tmp_path), None), client=None, progress=None, kept=None, workers=None
    )
    context = LocalContext(bench, "context", "load build context")
    context.want([Vertex(op=op, inputs=(SCRATCH, context.vertex))])
    assert context._wanted == wanted
