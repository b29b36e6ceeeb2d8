"""The flags of `corten build`: those of `docker build`, classic and buildx."""

from __future__ import annotations

from corten.cli.flags import Flag

CLASSIC = (
    Flag("add-host", "list", 'Add a custom host-to-IP mapping ("host:ip")'),
    Flag("build-arg", "list", "Set build-time variables"),
    Flag("cache-from", "list", "Images to consider as cache sources"),
    Flag("cgroup-parent", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
    Flag("compress", "bool", "Compress the build context using gzip", hidden=True),
    Flag("cpu-period", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag("cpu-quota", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag("cpu-shares", "int", "CPU shares (relative weight)", "c"),
    Flag("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag("disable-content-trust", "bool", "Skip image verification", default=True, hidden=True),
    Flag("file", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', "f"),
    Flag("force-rm", "bool", "Always remove intermediate containers"),
    Flag("iidfile", "string", "Write the image ID to the file"),
    Flag("isolation", "string", "Container isolation technology", hidden=True),
    Flag("label", "list", "Set metadata for an image"),
    Flag("memory", "bytes", "Memory limit", "m"),
    Flag("memory-swap", "swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    Flag(
        "network",
        "string",
        "Set the networking mode for the RUN instructions during build",
        default="default",
    ),
    Flag("no-cache", "bool", "Do not use cache when building the image"),
    Flag("platform", "strings", "Set target platforms for build"),
    Flag("pull", "bool", "Always attempt to pull a newer version of the image"),
    Flag("quiet", "bool", "Suppress the build output and print image ID on success", "q"),
    Flag("rm", "bool", "Remove intermediate containers after a successful build", default=True),
    Flag("security-opt", "strings", "Security options"),
    Flag("shm-size", "bytes", 'Size of "/dev/shm"'),
    Flag("squash", "bool", "Squash newly built layers into a single new layer"),
    Flag("tag", "list", 'Name and optionally a tag in the "name:tag" format', "t"),
    Flag("target", "string", "Set the target build stage to build."),
    Flag("ulimit", "ulimit", "Ulimit options", show_default="[]"),
)
BUILDX = (
    Flag(
        "allow", "strings", 'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")'
    ),
    Flag("annotation", "list", "Add annotation to the image"),
    Flag("attest", "list", 'Attestation parameters (format: "type=sbom,generator=image")'),
    Flag("build-context", "list", "Additional build contexts (e.g., name=path)"),
    Flag("builder", "string", "Override the configured builder instance", hidden=True),
    Flag("cache-to", "list", "Cache export destinations", hidden=True),
    Flag(
        "call", "string", 'Set method for evaluating build ("check", "outline", "targets")', default="build"
    ),
    Flag("check", "bool", 'Shorthand for "--call=check"'),
    Flag("load", "bool", 'Shorthand for "--output=type=docker"'),
    Flag("metadata-file", "string", "Write build result metadata to a file"),
    Flag("no-cache-filter", "strings", "Do not cache specified stages"),
    Flag("output", "list", 'Output destination (format: "type=docker,dest=path")', "o"),
    Flag(
        "progress",
        "string",
        'Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")',
        default="auto",
    ),
    Flag("provenance", "string", 'Shorthand for "--attest=type=provenance"'),
    Flag("push", "bool", "Push the image when it is built"),
    Flag("sbom", "string", 'Shorthand for "--attest=type=sbom"'),
    Flag("secret", "list", 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
    Flag(
        "ssh", "list", 'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>]")'
    ),
    Flag("verify", "bool", "Build twice, the second time without cache, and compare the images"),
)
