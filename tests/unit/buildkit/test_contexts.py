"""The client's directories in a build."""

from types import SimpleNamespace

from corten.builder.graph import LocalSource
from corten.builder.session import Session
from corten.buildkit.contexts import LocalContext


def test_a_frontend_that_is_asked_again_has_a_context_of_its_own(tmp_path):
    """What it takes of the same directory may be other files."""
    session = Session(str(tmp_path), None)
    bench = SimpleNamespace(session=session, client=None, progress=None, kept=None, workers=None)
    ops = [LocalContext(bench, "context", "load build context").vertex.op for _ in range(2)]
    assert all(isinstance(op, LocalSource) for op in ops)
    assert len({op.key for op in ops} & session.fetched.keys()) == 2
