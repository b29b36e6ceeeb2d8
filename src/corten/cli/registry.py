"""Every command: the module and name that define it, and the line that lists show about it.

Modules are imported only for the command that runs. `TOP` gives the short forms (`ps` for `container ls`);
the short form is the same command under another name.
"""

from __future__ import annotations

GROUPS = {
    "builder": "Manage builds",
    "buildx": "Manage builds (as builder)",
    "checkpoint": "Manage checkpoints",
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "manifest": "Manage Docker image manifests and manifest lists",
    "network": "Manage networks",
    "plugin": "Manage plugins",
    "registry": "Serve a registry",
    "system": "Manage Corten",
    "volume": "Manage volumes",
}

# path: (module under corten.cli, name of its Command, short description)
COMMANDS = {
    "checkpoint create": (
        "checkpoint.manage",
        "CREATE",
        "Create a checkpoint from a running container",
    ),
    "checkpoint ls": ("checkpoint.manage", "LIST", "List checkpoints for a container"),
    "checkpoint rm": ("checkpoint.manage", "REMOVE", "Remove a checkpoint"),
    "container attach": (
        "container.attach",
        "ATTACH",
        "Attach local standard input, output, and error streams to a running container",
    ),
    "container commit": (
        "container.snapshot",
        "COMMIT",
        "Create a new image from a container's changes",
    ),
    "container cp": (
        "container.copy",
        "COPY",
        "Copy files/folders between a container and the local filesystem",
    ),
    "container create": ("container.create", "CREATE", "Create a new container"),
    "container diff": (
        "container.snapshot",
        "DIFF",
        "Inspect changes to files or directories on a container's filesystem",
    ),
    "container exec": ("container.exec", "EXEC", "Execute a command in a running container"),
    "container export": (
        "container.snapshot",
        "EXPORT",
        "Export a container's filesystem as a tar archive",
    ),
    "container inspect": (
        "inspect",
        "INSPECT_CONTAINER",
        "Display detailed information on one or more containers",
    ),
    "container kill": ("container.lifecycle", "KILL", "Kill one or more running containers"),
    "container logs": ("container.logs", "LOGS", "Fetch the logs of a container"),
    "container ls": ("container.list", "LIST", "List containers"),
    "container pause": (
        "container.lifecycle",
        "PAUSE",
        "Pause all processes within one or more containers",
    ),
    "container port": (
        "container.port",
        "PORT",
        "List port mappings or a specific mapping for the container",
    ),
    "container prune": ("system.prune", "PRUNE_CONTAINERS", "Remove all stopped containers"),
    "container rename": ("container.lifecycle", "RENAME", "Rename a container"),
    "container restart": ("container.lifecycle", "RESTART", "Restart one or more containers"),
    "container rm": ("container.lifecycle", "REMOVE", "Remove one or more containers"),
    "container run": ("container.run", "RUN", "Create and run a new container from an image"),
    "container start": ("container.start", "START", "Start one or more stopped containers"),
    "container stats": (
        "container.stats",
        "STATS",
        "Display a live stream of container(s) resource usage statistics",
    ),
    "container stop": ("container.lifecycle", "STOP", "Stop one or more running containers"),
    "container top": ("container.top", "TOP", "Display the running processes of a container"),
    "container unpause": (
        "container.lifecycle",
        "UNPAUSE",
        "Unpause all processes within one or more containers",
    ),
    "container update": (
        "container.update",
        "UPDATE",
        "Update configuration of one or more containers",
    ),
    "container wait": (
        "container.lifecycle",
        "WAIT",
        "Block until one or more containers stop, then print their exit codes",
    ),
    "context create": ("contexts", "CREATE", "Create a context"),
    "context export": (
        "contexts",
        "EXPORT",
        "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    ),
    "context import": ("contexts", "IMPORT", "Import a context from a tar file"),
    "context inspect": ("contexts", "INSPECT", "Display detailed information on one or more contexts"),
    "context ls": ("contexts", "LIST", "List contexts"),
    "context rm": ("contexts", "REMOVE", "Remove one or more contexts"),
    "context show": ("contexts", "SHOW", "Print the name of the current context"),
    "context update": ("contexts", "UPDATE", "Update a context"),
    "context use": ("contexts", "USE", "Set the current docker context"),
    "builder build": ("image.build", "BUILD", "Build an image from a Dockerfile"),
    "builder du": ("image.cache", "DU", "Disk usage of the build cache"),
    "builder export": ("image.localcache", "EXPORT", "Write the build cache to a tar archive"),
    "builder import": ("image.localcache", "IMPORT", "Take in a build cache that has been exported"),
    "builder inspect": ("image.builders", "INSPECT", "Inspect the builder"),
    "builder ls": ("image.builders", "LIST", "List builders"),
    "builder prune": ("image.cache", "PRUNE", "Remove build cache"),
    "buildx build": ("image.build", "BUILD", "Start a build"),
    "buildx du": ("image.cache", "DU", "Disk usage"),
    "buildx export": ("image.localcache", "EXPORT", "Write the build cache to a tar archive"),
    "buildx import": ("image.localcache", "IMPORT", "Take in a build cache that has been exported"),
    "buildx inspect": ("image.builders", "INSPECT", "Inspect the builder"),
    "buildx ls": ("image.builders", "LIST", "List builders"),
    "buildx prune": ("image.cache", "PRUNE", "Remove build cache"),
    "image bootstrap": ("image.bootstrap", "BOOTSTRAP", "Make a base image from the distribution's packages"),
    "image build": ("image.build", "BUILD", "Build an image from a Dockerfile"),
    "image cp": ("image.copy", "COPY", "Copy an image between registries, archives and the engine"),
    "image diff": ("image.diff", "DIFF", "Show what differs between the files of two images"),
    "image tree": ("image.family", "TREE", "Show which images build on which"),
    "image history": ("image.history", "HISTORY", "Show the history of an image"),
    "image import": (
        "image.archive",
        "IMPORT",
        "Import the contents from a tarball to create a filesystem image",
    ),
    "image inspect": ("inspect", "INSPECT_IMAGE", "Display detailed information on one or more images"),
    "image keypair": ("image.sign", "KEYPAIR", "Make a key pair for signing images"),
    "image load": ("image.archive", "LOAD", "Load an image from a tar archive or STDIN"),
    "image ls": ("image.list", "LIST", "List images"),
    "image prune": ("system.prune", "PRUNE_IMAGES", "Remove unused images"),
    "image pull": ("image.pull", "PULL", "Download an image from a registry"),
    "image push": ("image.push", "PUSH", "Upload an image to a registry"),
    "image rm": ("image.remove", "REMOVE", "Remove one or more images"),
    "image save": (
        "image.archive",
        "SAVE",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
    ),
    "image sign": ("image.sign", "SIGN", "Sign an image in its registry"),
    "image tag": (
        "image.remove",
        "TAG",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    ),
    "image verify": ("image.sign", "VERIFY", "Verify that an image is signed"),
    "manifest annotate": ("manifest", "ANNOTATE", "Add additional information to a local image manifest"),
    "manifest create": (
        "manifest",
        "CREATE",
        "Create a local manifest list for annotating and pushing to a registry",
    ),
    "manifest inspect": ("manifest", "INSPECT", "Display an image manifest, or manifest list"),
    "manifest push": ("manifest", "PUSH", "Push a manifest list to a repository"),
    "manifest rm": ("manifest", "REMOVE", "Delete one or more manifest lists from local storage"),
    "network inspect": ("inspect", "INSPECT_NETWORK", "Display detailed information on one or more networks"),
    "network connect": ("network.connection", "CONNECT", "Connect a container to a network"),
    "network create": ("network.create", "CREATE", "Create a network"),
    "network disconnect": ("network.connection", "DISCONNECT", "Disconnect a container from a network"),
    "network ls": ("network.list", "LIST", "List networks"),
    "network prune": ("system.prune", "PRUNE_NETWORKS", "Remove all unused networks"),
    "network rm": ("network.remove", "REMOVE", "Remove one or more networks"),
    "plugin ls": ("plugins", "LIST", "List plugins"),
    "registry serve": ("serve_registry", "SERVE", "Serve an OCI registry in the foreground"),
    "system dial-stdio": (
        "system.dial_stdio",
        "DIAL_STDIO",
        "Proxy the stdio stream to the engine, for ssh:// hosts",
    ),
    "system df": ("system.df", "DF", "Show disk usage"),
    "system events": ("system.events", "EVENTS", "Get real time events from the server"),
    "system fsck": ("system.fsck", "FSCK", "Check that ledger, disk and kernel agree"),
    "system exposure": (
        "system.exposure",
        "EXPOSURE",
        "Show what is reachable, and from where",
    ),
    "system info": ("system.info", "INFO", "Display system-wide information"),
    "system prune": ("system.prune", "PRUNE_SYSTEM", "Remove unused data"),
    "volume clone": ("volume.transfer", "CLONE", "Make a volume with the contents of another"),
    "volume create": ("volume.manage", "CREATE", "Create a volume"),
    "volume du": ("volume.transfer", "USAGE", "Show the sizes of volumes"),
    "volume export": ("volume.transfer", "EXPORT", "Write the contents of a volume as a tar archive"),
    "volume import": ("volume.transfer", "IMPORT", "Make a volume of a tar archive"),
    "volume inspect": ("inspect", "INSPECT_VOLUME", "Display detailed information on one or more volumes"),
    "volume ls": ("volume.list", "LIST", "List volumes"),
    "volume prune": ("system.prune", "PRUNE_VOLUMES", "Remove unused local volumes"),
    "volume rename": ("volume.transfer", "RENAME", "Rename a volume that no container has"),
    "volume rm": (
        "volume.manage",
        "REMOVE",
        "Remove one or more volumes",
    ),
    "volume update": ("volume.manage", "UPDATE", "Change the size of a volume"),
    "completion": ("completion", "COMPLETION", "Print the completion script of a shell: bash, fish or zsh"),
    "daemon": ("daemon", "DAEMON", "Run the engine in the foreground"),
    "inspect": ("inspect", "INSPECT", "Return low-level information on Corten objects"),
    "login": ("system.login", "LOGIN", "Authenticate to a registry"),
    "logout": ("system.login", "LOGOUT", "Log out from a registry"),
    "search": ("search", "SEARCH", "Search Docker Hub for images"),
    "version": ("system.version", "VERSION", "Show the Corten version information"),
}

# other words for the last part of a path
SYNONYMS = {
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "context list": "context ls",
    "context remove": "context rm",
    "plugin list": "plugin ls",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "checkpoint list": "checkpoint ls",
    "checkpoint remove": "checkpoint rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "network remove": "network rm",
}

TOP = {
    "attach": "container attach",
    "build": "image build",
    "commit": "container commit",
    "cp": "container cp",
    "create": "container create",
    "diff": "container diff",
    "events": "system events",
    "exec": "container exec",
    "export": "container export",
    "history": "image history",
    "images": "image ls",
    "import": "image import",
    "info": "system info",
    "kill": "container kill",
    "load": "image load",
    "logs": "container logs",
    "pause": "container pause",
    "port": "container port",
    "ps": "container ls",
    "pull": "image pull",
    "push": "image push",
    "rename": "container rename",
    "restart": "container restart",
    "rm": "container rm",
    "rmi": "image rm",
    "run": "container run",
    "save": "image save",
    "start": "container start",
    "stats": "container stats",
    "stop": "container stop",
    "tag": "image tag",
    "top": "container top",
    "unpause": "container unpause",
    "update": "container update",
    "wait": "container wait",
}

COMMON = (
    *("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version"),
    "info",
)

_PLUGIN_WORDS = ("create", "disable", "enable", "inspect", "install", "push", "rm", "set", "upgrade")

# Docker's commands that the engine does not serve yet: refused with a clear text
UNSUPPORTED = frozenset(
    (
        *("bake", "buildx bake", "buildx imagetools", "compose", "config"),
        *(
            "node",
            *(f"plugin {word}" for word in _PLUGIN_WORDS),
            "secret",
            "service",
            "stack",
            "swarm",
            "trust",
        ),
    )
)


def resolve(words: list[str]) -> tuple[str, str, int] | None:
    """Find the command the first words name: its path in COMMANDS, its name as typed, how many words."""
    for count in (2, 1):
        typed = " ".join(words[:count])
        path = SYNONYMS.get(typed, TOP.get(typed, typed))
        if len(words) >= count and path in COMMANDS:
            return path, typed, count
    return None


def names_of(path: str) -> list[str]:
    """All names of a command, as help lists them under Aliases."""
    names = [path, *(typed for typed, target in SYNONYMS.items() if target == path)]
    return names + [typed for typed, target in TOP.items() if target == path]
