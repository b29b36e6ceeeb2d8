from hypothesis import given
from hypothesis import strategies as st

from corten.metadata.gc import reachable, unreachable


def test_shared_and_orphaned_nodes():
    edges = {"image": ["a", "b"], "orphan": ["b", "c"]}
    assert unreachable("abc", ["image"], edges) == {"c"}


nodes = st.integers(0, 8)
graphs = st.dictionaries(nodes, st.lists(nodes, max_size=4))


@given(graphs, st.sets(nodes), st.sets(nodes))
def test_nothing_that_is_held_goes(edges, everything, roots):
    gone = unreachable(everything, roots, edges)
    kept = reachable(roots, edges)
    assert gone.isdisjoint(kept)
    assert gone | (kept & everything) == everything
    assert all(held in kept for node in kept for held in edges.get(node, ()))
