"""Frontends that are images (`# syntax=`, gateway.v0): containers that drive the build over their stdio.

The container gets the attributes of the build as variables (BUILDKIT_FRONTEND_OPT_<n>) and the bridge on
its stdin and stdout. It has the rights of the client's own definitions, and is gone when it has returned.

Source: moby/buildkit, frontend/gateway (names of variables and labels).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from corten.builder.booleans import parse_bool
from corten.builder.executor import ExecSpec
from corten.builder.image import Layer, env_with_path
from corten.builder.results import Snapshot
from corten.builder.solver import Solver
from corten.builder.sources import BaseImage
from corten.buildkit.bridge import Bridge
from corten.buildkit.driver import Driver, Outcome
from corten.buildkit.failures import grpc_error
from corten.buildkit.grpc.server import serve
from corten.buildkit.progress import STDERR
from corten.buildkit.stdio import StdioStream
from corten.buildkit.workbench import Workbench
from corten.buildkit.workers import worker
from corten.errors import CortenError, InvalidParameter, NotSupported
from corten.ids import new_id
from corten.oci.image import ImageConfig, decode_config
from corten.snapshots import uppers

_NO_NETWORK = "moby.buildkit.frontend.network.none"
_CAPABILITIES = "moby.buildkit.frontend.caps"
_END_S = 1.0  # how long a frontend may take to end after it has returned


class Gateway:
    """Runs frontends of one build."""

    def __init__(self, bench: Workbench, solver: Solver) -> None:
        self._bench = bench
        self._solver = solver

    async def run(
        self, name: str, image: BaseImage, attributes: Mapping[str, str], driver: Driver
    ) -> Outcome:
        """Run the frontend in `image` until it has returned. Raises what it returns, InvalidParameter."""
        config = decode_config(image.config).config or ImageConfig()
        _check(config, attributes, driver)
        stream = StdioStream()
        with self._bench.progress.internal(f"frontend {name}") as step:

            async def take(kind: str, data: bytes) -> None:
                if kind == "stdout":
                    await stream.received(data)
                else:
                    step.log(STDERR, data)

            serving = asyncio.ensure_future(
                serve(stream, Bridge.of(driver, worker("")).methods(), grpc_error)
            )
            running = asyncio.ensure_future(
                self._solver.executor.run(self._spec(image, config, attributes, stream), take)
            )
            try:
                waiting: list[asyncio.Future[Any]] = [running, driver.returned]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if driver.returned.done():
                    await asyncio.wait([running], timeout=_END_S)
                else:
                    driver.fail(InvalidParameter(f"frontend {name} ended without a result: {_why(running)}"))
                return await driver.returned
            finally:
                await driver.containers.close()
                running.cancel()
                with suppress(asyncio.CancelledError, CortenError):
                    await running
                stream.ended()
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving

    def _spec(
        self,
        image: BaseImage,
        config: ImageConfig,
        attributes: Mapping[str, str],
        stream: StdioStream,
    ) -> ExecSpec:
        session = self._bench.session
        snapshot = Snapshot(tuple(Layer(diff_id) for diff_id in image.diff_ids))
        session.pin(snapshot)
        lower = session.lower(snapshot)
        upper = uppers.prepare(session.new_directory("frontend"), lower)
        options = [
            f"BUILDKIT_FRONTEND_OPT_{n}={key}={value}" for n, (key, value) in enumerate(attributes.items())
        ]
        return ExecSpec(
            id=new_id(),
            build=session.name,
            args=config.entrypoint or ["/run"],
            env=[
                *env_with_path(config.env or ()),
                *options,
                f"BUILDKIT_SESSION_ID={self._bench.client.id}",
                f"BUILDKIT_WORKERS={_workers()}",
                "BUILDKIT_EXPORTEDPRODUCT=",
            ],
            cwd=config.working_dir or "/",
            user=config.user,
            lower=lower,
            upper=upper.upper,
            work=upper.work,
            network="none" if parse_bool((config.labels or {}).get(_NO_NETWORK, "")) else "default",
            extra_hosts=session.settings.extra_hosts,
            limits=session.settings.limits,
            stdin=True,
            on_start=stream.connect,
        )


def _check(config: ImageConfig, attributes: Mapping[str, str], driver: Driver) -> None:
    """Raises NotSupported if more is asked of the frontend than it says it can."""
    known = set((config.labels or {}).get(_CAPABILITIES, "").split(","))
    wanted = set(filter(None, attributes.get("frontend.caps", "").split(",")))
    if driver.inputs:
        wanted.add("moby.buildkit.frontend.inputs")
    if missing := sorted(wanted - known):
        raise NotSupported(f"the frontend does not support {missing[0]}")


def _workers() -> str:
    record = worker("")
    platforms = [{"architecture": each.architecture, "os": each.os} for each in record.platforms]
    found = [{"id": record.id, "labels": dict(record.labels), "platforms": platforms}]
    return msgspec.json.encode(found).decode()


def _why(running: asyncio.Future[int]) -> str:
    error = running.exception()
    return str(error) if error is not None else f"exit code: {running.result()}"
