"""The route table: every operation of the Engine API, one a line, served or refused.

docs/compatibility.md is made of it and the specification by script/compatibility.
"""

from __future__ import annotations

from dataclasses import dataclass

from corten.api import answers
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.router import Handler, Route
from corten.api.routes.build import Builder, BuildHandlers
from corten.api.routes.buildkit import BuildKit, BuildKitHandlers
from corten.api.routes.checkpoints import CheckpointHandlers, Checkpoints
from corten.api.routes.commit import CommitHandlers, Committer
from corten.api.routes.containers import ContainerHandlers, Containers
from corten.api.routes.distribution import Distribution, DistributionHandlers
from corten.api.routes.execs import ExecHandlers, Execs
from corten.api.routes.files import FileHandlers, Files
from corten.api.routes.images import ImageHandlers, Images
from corten.api.routes.monitoring import Monitor, MonitoringHandlers
from corten.api.routes.networks import NetworkHandlers, Networks
from corten.api.routes.system import System, SystemHandlers
from corten.api.routes.volumes import VolumeHandlers, Volumes
from corten.errors import NotFound, NotSupported, NotSwarmManager, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the engine gives the API."""

    containers: Containers
    monitor: Monitor
    execs: Execs
    files: Files
    checkpoints: Checkpoints
    committer: Committer
    images: Images
    distribution: Distribution
    networks: Networks
    volumes: Volumes
    system: System
    builder: Builder
    buildkit: BuildKit


def endpoints(services: Services) -> list[Route]:
    """All routes, on these services."""
    return [
        *_system(services),
        *_containers(services),
        *_execs(services),
        *_images(services),
        *_build(services),
        *_networks(services),
        *_volumes(services),
        *_managed_plugins(),
        *_cluster(),
    ]


def _system(services: Services) -> list[Route]:
    system = SystemHandlers(services.system)
    return [
        Route("GET", "/_ping", system.ping),
        Route("HEAD", "/_ping", system.ping),
        Route("GET", "/version", system.version),
        Route("GET", "/info", system.info),
        Route("GET", "/events", system.events),
        Route("GET", "/system/df", system.disk_usage, (1, 25)),
        Route("POST", "/system/fsck", system.fsck),
        Route("POST", "/auth", system.auth),
    ]


def _containers(services: Services) -> list[Route]:
    containers = ContainerHandlers(services.containers)
    monitoring = MonitoringHandlers(services.monitor)
    files = FileHandlers(services.files)
    checkpoints = CheckpointHandlers(services.checkpoints)
    return [
        Route("GET", "/containers/json", containers.list),
        Route("POST", "/containers/create", containers.create),
        Route("GET", "/containers/{id}/json", containers.inspect),
        Route("GET", "/containers/{id}/logs", containers.logs),
        _whole("POST", "/containers/{id}/start", containers.start),
        _whole("POST", "/containers/{id}/stop", containers.stop),
        _whole("POST", "/containers/{id}/restart", containers.restart),
        _whole("POST", "/containers/{id}/kill", containers.kill),
        Route("POST", "/containers/{id}/rename", containers.rename),
        _whole("POST", "/containers/{id}/pause", containers.pause),
        _whole("POST", "/containers/{id}/unpause", containers.unpause),
        _whole("POST", "/containers/{id}/update", containers.update),
        Route("GET", "/containers/{id}/top", monitoring.top),
        Route("GET", "/containers/{id}/stats", monitoring.stats),
        Route("POST", "/containers/{id}/resize", containers.resize),
        Route("POST", "/containers/{id}/attach", containers.attach),
        Route("POST", "/containers/{id}/wait", containers.wait),
        _whole("DELETE", "/containers/{name}", containers.remove),  # --link: /USER/ALIAS
        Route("POST", "/containers/prune", containers.prune, (1, 25)),
        Route("HEAD", "/containers/{id}/archive", files.stat),
        Route("GET", "/containers/{id}/archive", files.read),
        Route("PUT", "/containers/{id}/archive", files.write),
        Route("GET", "/containers/{id}/changes", files.changes),
        Route("GET", "/containers/{id}/export", files.export),
        Route("GET", "/containers/{id}/attach/ws", containers.attach_websocket),
        Route("GET", "/containers/{id}/checkpoints", checkpoints.list),
        Route("POST", "/containers/{id}/checkpoints", checkpoints.create),
        Route("DELETE", "/containers/{id}/checkpoints/{checkpoint}", checkpoints.remove),
    ]


def _execs(services: Services) -> list[Route]:
    execs = ExecHandlers(services.execs)
    return [
        Route("POST", "/containers/{id}/exec", execs.create),
        Route("POST", "/exec/{id}/start", execs.start),
        Route("POST", "/exec/{id}/resize", execs.resize),
        Route("GET", "/exec/{id}/json", execs.inspect),
    ]


def _images(services: Services) -> list[Route]:
    commit = CommitHandlers(services.committer)
    images = ImageHandlers(services.images)
    distribution = DistributionHandlers(services.distribution)
    return [
        Route("GET", "/images/json", images.list),
        Route("POST", "/images/create", images.create),
        Route("POST", "/images/load", images.load),
        Route("POST", "/images/bootstrap", images.bootstrap),
        Route("GET", "/images/get", images.save),
        Route("POST", "/images/prune", images.prune, (1, 25)),
        Route("GET", "/images/{name}/json", images.inspect),
        Route("GET", "/images/{name}/history", images.history),
        Route("GET", "/images/{name}/get", images.save_one),
        Route("GET", "/images/{name}/changes", images.changes),
        Route("POST", "/images/{name}/tag", images.tag),
        Route("DELETE", "/images/{name}", images.remove),
        Route("POST", "/images/{name}/push", images.push),
        Route("GET", "/images/search", distribution.search),
        Route("GET", "/images/{name}/signatures", distribution.signatures),
        Route("POST", "/images/{name}/signatures", distribution.add_signature),
        Route("GET", "/distribution/{name}/json", distribution.inspect, (1, 30)),
        Route("GET", "/distribution/{name}/manifest", distribution.manifest),
        Route("POST", "/distribution/{name}/copy", distribution.copy),
        Route("POST", "/distribution/{name}/index", distribution.push_index),
        Route("POST", "/distribution/archive", distribution.convert_archive),
        Route("GET", "/distribution/{name}/archive", distribution.send_archive),
        Route("POST", "/distribution/{name}/archive", distribution.receive_archive),
        Route("GET", "/images/{name}/attestations", images.attestations),
        Route("POST", "/commit", commit.commit),
    ]


def _build(services: Services) -> list[Route]:
    build = BuildHandlers(services.builder, services.buildkit)
    buildkit = BuildKitHandlers(services.buildkit)
    return [
        Route("POST", "/build", build.build),
        Route("POST", "/build/prune", build.prune, (1, 31)),
        Route("POST", "/build/cache/export", build.export_cache),
        Route("POST", "/build/cache/import", build.import_cache),
        Route("GET", "/build/outputs/{token}", build.output),
        Route("POST", "/build/cancel", build.cancel, (1, 31)),
        Route("POST", "/session", buildkit.session, (1, 31)),
        Route("POST", "/grpc", buildkit.grpc, (1, 31)),
    ]


def _networks(services: Services) -> list[Route]:
    networks = NetworkHandlers(services.networks)
    return [
        Route("GET", "/networks", networks.list),
        Route("GET", "/networks/{id}", networks.inspect),
        Route("POST", "/networks/prune", networks.prune, (1, 25)),
        Route("DELETE", "/networks/{id}", networks.remove),
        Route("POST", "/networks/create", networks.create),
        _whole("POST", "/networks/{id}/connect", networks.connect),
        _whole("POST", "/networks/{id}/disconnect", networks.disconnect),
    ]


def _volumes(services: Services) -> list[Route]:
    volumes = VolumeHandlers(services.volumes)
    return [
        Route("GET", "/volumes", volumes.list),
        Route("POST", "/volumes/create", volumes.create),
        Route("POST", "/volumes/prune", volumes.prune, (1, 25)),
        Route("GET", "/volumes/{name}", volumes.inspect),
        Route("GET", "/volumes/{name}/export", volumes.export),
        Route("POST", "/volumes/{name}/import", volumes.import_tar),
        Route("POST", "/volumes/{name}/clone", volumes.clone),
        Route("POST", "/volumes/{name}/rename", volumes.rename),
        Route("PUT", "/volumes/{name}", volumes.update, (1, 42)),
        Route("DELETE", "/volumes/{name}", volumes.remove),
    ]


def _managed_plugins() -> list[Route]:
    # managed plugins: the list is empty, nothing can be put on it, and so none has any name
    what = "managed plugins"
    actions = ("enable", "disable", "upgrade", "push", "set")
    return [
        Route("GET", "/plugins", _no_plugins),
        *_all(what, "GET /plugins/privileges", "POST /plugins/pull", "POST /plugins/create"),
        Route("GET", "/plugins/{name}/json", _no_such_plugin, refusal=what),
        Route("DELETE", "/plugins/{name}", _no_such_plugin, refusal=what),
        *(Route("POST", f"/plugins/{{name}}/{each}", _no_such_plugin, refusal=what) for each in actions),
    ]


def _cluster() -> list[Route]:
    # the cluster: an engine that is in none answers so, and cannot be brought into one yet
    return [
        *_all("Swarm mode", "POST /swarm/init", "POST /swarm/join"),
        Route("POST", "/swarm/leave", _not_in_swarm, refusal="Swarm mode"),
        *_for_managers("GET /swarm", "POST /swarm/update", "GET /swarm/unlockkey", "POST /swarm/unlock"),
        *_for_managers("GET /nodes", "GET /nodes/{id}", "DELETE /nodes/{id}", "POST /nodes/{id}/update"),
        *_for_managers(
            "GET /services", "POST /services/create", "GET /services/{id}", "DELETE /services/{id}"
        ),
        *_for_managers("POST /services/{id}/update", "GET /services/{id}/logs"),
        *_for_managers("GET /tasks", "GET /tasks/{id}", "GET /tasks/{id}/logs"),
        *_for_managers("GET /secrets", "POST /secrets/create", "GET /secrets/{id}", "DELETE /secrets/{id}"),
        *_for_managers("POST /secrets/{id}/update"),
        *_for_managers("GET /configs", "POST /configs/create", "GET /configs/{id}", "DELETE /configs/{id}"),
        *_for_managers("POST /configs/{id}/update"),
    ]


def _whole(method: str, template: str, handler: Handler) -> Route:
    """An operation that is not left half done when its client goes away, as in Docker."""
    return Route(method, template, handler, outlives_client=True)


def refused(method: str, template: str, what: str) -> Route:
    """A route that Docker has and we have not (yet)."""
    return Route(method, template, _refuse(what), refusal=what)


def _all(what: str, *operations: str) -> list[Route]:
    return [refused(method, template, what) for method, template in (o.split() for o in operations)]


def _for_managers(*operations: str) -> list[Route]:
    """What only a swarm's manager does."""
    return [
        Route(method, template, _no_manager, refusal="Swarm mode")
        for method, template in (o.split() for o in operations)
    ]


def _no_manager(request: Request) -> Answer:
    raise NotSwarmManager


def _no_plugins(request: Request) -> Answer:
    return answers.documents(request, [])


def _no_such_plugin(request: Request) -> Answer:
    raise NotFound(f'plugin "{request.params[0]}" not found')


def _not_in_swarm(request: Request) -> Answer:
    """POST /swarm/leave: true, and what clients take for done (docker-py, Testcontainers)."""
    raise Unavailable("This node is not part of a swarm")


def _refuse(what: str) -> Handler:
    verb = "are" if what.endswith(("sessions", "plugins")) else "is"

    def handler(request: Request) -> Answer:
        raise NotSupported(f"{what} {verb} not supported by Corten yet")

    return handler
