"""`image ls --tree`."""


def manifest(digit, architecture, *, available=True, kind="image", containers=()):
    platform = {"os": "linux", "architecture": architecture}
    size = {"Content": 1000, "Total": 3000} if available else {"Content": 0, "Total": 0}
    return {
        "ID": "sha256:" + digit * 64,
        "Descriptor": {},
        "Available": available,
        "Size": size,
        "Kind": kind,
        "ImageData": {"Platform": platform, "Containers": list(containers), "Size": {"Unpacked": 2000}},
    }


def test_platforms_below_their_image(engine, corten):
    engine.documents["GET /images/json"] = [
        {
            "Id": "sha256:" + "a" * 64,
            "RepoTags": ["x:1", "x:2"],
            "Size": 2000,
            "Manifests": [
                manifest("1", "amd64", containers=["c"]),
                manifest("2", "arm64"),
                manifest("3", "s390x", available=False),
                manifest("4", "unknown", kind="attestation"),
            ],
        },
        {"Id": "sha256:" + "b" * 64, "RepoTags": [], "Size": 5, "Manifests": []},
    ]
    done = corten("image", "ls", "--tree")
    assert done.stdout.decode() == (
        "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA\n"
        "x:1              aaaaaaaaaaaa   2kB          2kB            U\n"
        "x:2              aaaaaaaaaaaa   2kB          2kB            U\n"
        "├─ linux/amd64   111111111111   3kB          1kB            U\n"
        "├─ linux/arm64   222222222222   3kB          1kB            \n"
        "└─ linux/s390x   333333333333                               \n"
        "<untagged>       bbbbbbbbbbbb   5B           0B             \n"
    )


def test_flags_that_say_nothing_about_a_tree(corten):
    done = corten("images", "--tree", "-q")
    assert done.returncode == 1
    assert done.stderr == b"--quiet is not yet supported with --tree\n"
