"""The worker job that takes a commit's files out of a git repository, by the git program.

The repository is hostile: nothing in it or about it may make git run a program, read our files or speak a
protocol that was not asked for. So: an empty HOME and no configuration but ours; no hooks, no file system
monitor, no filters of its own (there is no configuration that could define one); only network protocols,
also for submodules; refs that cannot be options (`gitref`); symlinks are checked out, but nobody follows
them outside the tree (everything later resolves below a directory fd).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from corten.builder.credentials import redacted
from corten.errors import InvalidParameter, NotSupported, Unavailable
from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath
from corten.linux.syscalls import PR_SET_PDEATHSIG, prctl

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SETTINGS = {
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.git.allow": "always",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "advice.detachedHead": "false",
    "init.defaultBranch": "master",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1",  # what a server that says nothing more would keep alive, also without us
    "http.lowSpeedTime": "300",
}
_TIMEOUT_S = 1800
_MESSAGE = 2000


def clone(params: Mapping[str, Any], fds: list[int], report: object) -> dict[str, object]:
    """Check out `remote` at `ref` below `directory` (made, empty); answers `commit`, and `path` of the files.

    `subdir`, `checksum`, `keep_git_dir`, `submodules` as in `graph.GitSource`; `home`: an empty directory;
    `headers`: Authorization headers by URL; `ssh_auth_sock`: "" = none.
    Raises InvalidParameter (no such ref, another commit than asked for), Unavailable.
    """
    if shutil.which("git") is None:
        raise NotSupported("git is not installed on the engine's machine")
    os.umask(0o022)
    git = _Git(params)
    git.run("init", "--quiet")
    git.run("remote", "add", "origin", params["remote"])
    commit = _fetched(git, params["ref"])
    if params["checksum"] and not commit.startswith(params["checksum"]):
        raise InvalidParameter(
            f"expected checksum to match {params['checksum']}, got {commit} for ref {params['ref'] or 'HEAD'}"
        )
    git.run("checkout", "--quiet", "--detach", commit)
    if params["submodules"] and os.path.lexists(os.path.join(params["directory"], ".gitmodules")):
        git.run("submodule", "update", "--quiet", "--init", "--recursive", "--depth=1")
    if not params["keep_git_dir"]:
        _remove_git_directories(params["directory"])
    return {"commit": commit, "path": _subdirectory(params["directory"], params["subdir"])}


class _Git:
    def __init__(self, params: Mapping[str, Any]) -> None:
        self._directory = params["directory"]
        headers = {f"http.{url}.extraheader": value for url, value in params["headers"].items()}
        settings = {**_SETTINGS, **headers}
        self._env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": params["home"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
            "LC_ALL": "C",
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        # By the environment: an argument would show a token to everybody on the machine.
        for number, (key, value) in enumerate(settings.items()):
            self._env[f"GIT_CONFIG_KEY_{number}"] = key
            self._env[f"GIT_CONFIG_VALUE_{number}"] = value
        if params["ssh_auth_sock"]:
            self._env["SSH_AUTH_SOCK"] = params["ssh_auth_sock"]

    def run(self, *arguments: str) -> str:
        """The program's output. Raises Unavailable with what it complained about."""
        with tempfile.TemporaryFile(dir=self._env["HOME"]) as said:  # a server may say any amount
            try:
                done = subprocess.run(
                    ["git", *arguments],
                    cwd=self._directory,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    timeout=_TIMEOUT_S,
                    preexec_fn=_die_with_the_job,
                )
            except subprocess.TimeoutExpired:
                raise Unavailable(f"git {arguments[0]} took longer than {_TIMEOUT_S} s") from None
            if done.returncode:
                raise Unavailable(
                    f"git {arguments[0]} failed with exit code {done.returncode}: {_end_of(said)}"
                )
        return done.stdout.decode(errors="replace").strip()

    def can(self, *arguments: str) -> bool:
        """Whether the program succeeds."""
        try:
            self.run(*arguments)
        except Unavailable:
            return False
        return True


def _die_with_the_job() -> None:
    """Jobs are killed when their build is cancelled or the engine ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_of(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _MESSAGE))
    return redacted(said.read().decode(errors="replace").strip())


def _fetched(git: _Git, ref: str) -> str:
    """Fetch as little as the server allows; the commit's full id."""
    wanted = ref or "HEAD"
    is_commit = re.fullmatch(r"[0-9a-f]{7,64}", wanted) is not None
    if not is_commit or _COMMIT.fullmatch(wanted):
        for depth in (["--depth=1"], []):  # a dumb HTTP server knows nothing of depth
            if git.can("fetch", "--quiet", "--no-tags", "--force", *depth, "--", "origin", wanted):
                return git.run("rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}")
    # A short commit id, or a server that gives only what its refs name: everything, then look.
    git.run("fetch", "--quiet", "--tags", "--force", "--", "origin", "+refs/heads/*:refs/remotes/origin/*")
    for name in (wanted, f"refs/remotes/origin/{wanted}", f"refs/tags/{wanted}"):
        if git.can("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
            return git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    raise InvalidParameter(f"repository does not contain ref {wanted}")


def _remove_git_directories(directory: str) -> None:
    """`.git` of the repository, and the files of that name that submodules have."""
    shutil.rmtree(os.path.join(directory, ".git"))
    for path, directories, files in os.walk(directory):
        if ".git" in files:
            os.unlink(os.path.join(path, ".git"))
        if ".git" in directories:
            shutil.rmtree(os.path.join(path, ".git"))
            directories.remove(".git")


def _subdirectory(directory: str, subdir: str) -> str:
    if not subdir:
        return directory
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        os.close(open_beneath(root, subdir, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
    except OSError as error:
        raise InvalidParameter(f"invalid subdir {subdir}: {error.strerror}") from error
    finally:
        os.close(root)
    return os.path.join(directory, subdir)
