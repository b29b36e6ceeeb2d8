"""Steps in the lives of containers on the fake runtime."""

import asyncio

from corten.types.container import CreateRequest, HostConfig


def request(image="busybox", *, cmd=("true",), host=None, **config):
    host_config = HostConfig(network_mode="none", **(host or {}))
    return CreateRequest(image=image, cmd=list(cmd), host_config=host_config, **config)


async def create(world, name="web", **options):
    return (await world.containers.create(name, request(**options), "")).id


async def started(world, name="web", **options):
    identifier = await create(world, name, **options)
    await world.containers.start(identifier)
    return identifier


async def state(world, ref="web"):
    return (await world.containers.inspect(ref, size=False)).state


def run(coroutine):
    return asyncio.run(coroutine)
