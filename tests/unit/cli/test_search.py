"""`search`."""

FOUND = [
    {
        "name": "busybox",
        "description": "small\nthings",
        "star_count": 3,
        "is_official": True,
        "is_automated": False,
    },
    {
        "name": "me/busybox",
        "description": "x" * 50,
        "star_count": 0,
        "is_official": False,
        "is_automated": False,
    },
]


def test_table(engine, corten):
    asked = []
    engine.documents["GET /images/search"] = lambda query, body: asked.append(query) or FOUND
    done = corten("search", "--limit", "5", "--filter", "is-official=true", "busybox")
    assert done.stdout.decode() == (
        "NAME         DESCRIPTION                                     STARS     OFFICIAL\n"
        "busybox      small things                                    3         [OK]\n"
        f"me/busybox   {'x' * 44}…   0         \n"
    )
    assert "term" in str(asked[0]) and "limit" in str(asked[0]) and "is-official" in str(asked[0])


def test_templates(engine, corten):
    engine.documents["GET /images/search"] = FOUND
    done = corten(
        "search", "--no-trunc", "--format", "{{.Name}}: {{.Description}} {{.IsOfficial}}", "busybox"
    )
    assert done.stdout.decode() == f"busybox: small things [OK]\nme/busybox: {'x' * 50} \n"
