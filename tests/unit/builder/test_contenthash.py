"""What a copy's cache key is told of links."""

import os

from corten.builder.ops.contenthash import content_digest


def test_links_that_are_copied_as_such_are_told_apart(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).write_text("the same")
    root = os.open(tmp_path, os.O_RDONLY)
    followed, itself = set(), set()
    for target in ("x", "y", "nowhere"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        itself.add(content_digest(root, ["/link"], follow=False))
        if target != "nowhere":
            followed.add(content_digest(root, ["/link"]))
    os.close(root)
    assert (len(followed), len(itself)) == (1, 3)
