import asyncio
from pathlib import Path

import pytest
from lifecycles import create, started

from corten.engine.containers.links import Link, environment, parse_links
from corten.errors import InternalError, InvalidParameter, NotFound


def link(world, alias="data-base", **config):
    async def main():
        await create(world, "db", **config)
        await create(world, "web", host={"links": [f"db:{alias}"]})

    asyncio.run(main())
    store = world.context.store
    return store.get("web"), Link(alias, store.get("db"), "172.17.0.2")


def test_names_aliases_and_the_form_that_inspect_shows(world):
    asyncio.run(create(world, "db"))
    store, identifier = world.context.store, world.context.store.get("db").id
    for text, alias in (("db", "db"), ("db:x", "x"), ("db:", "db"), ("/db:/web/y", "y")):
        assert parse_links(store, [text]) == {alias: identifier}
    for text in ("nosuch", ":x", "db:a:b", "db:a b", "db:a\nb"):
        with pytest.raises(InvalidParameter, match="could not get container for"):
            parse_links(store, [text])


def test_variables(world):
    container, found = link(world, env=["A=b", "PATH=/x"], exposed_ports={"80/tcp": {}, "53/udp": {}})
    container.record.host_config.network_mode = "bridge"
    variables = dict(entry.split("=", 1) for entry in environment(container, [found]))
    assert variables["DATA_BASE_PORT"] == "udp://172.17.0.2:53"
    assert variables["DATA_BASE_PORT_80_TCP"] == "tcp://172.17.0.2:80"
    assert variables["DATA_BASE_PORT_80_TCP_ADDR"] == "172.17.0.2"
    assert variables["DATA_BASE_NAME"] == "/web/data-base"
    assert variables["DATA_BASE_ENV_A"] == "b"
    assert not [name for name in variables if "PATH" in name]
    assert found.hosts_line() == f"172.17.0.2\tdata-base {found.target.id[:12]} db\n"


def test_a_link_needs_its_target_running_and_goes_with_rm_link(world):
    async def main():
        await create(world, "db")
        await create(world, "web", host={"links": ["db"]})
        shown = await world.containers.inspect("web", size=False)
        assert shown.host_config.links == ["/db:/web/db"]
        with pytest.raises(InternalError, match="Cannot link to a non running container: /db AS /web/db"):
            await world.containers.start("web")
        with pytest.raises(NotFound):
            await world.containers.remove("/web/nosuch", force=False, volumes=False, link=True)
        await world.containers.remove("/web/db", force=False, volumes=False, link=True)
        await world.containers.start("web")
        assert (await world.containers.inspect("web", size=False)).host_config.links is None

    asyncio.run(main())


def test_a_removed_target_does_not_keep_its_user_from_starting(world):
    async def main():
        await create(world, "db")
        await create(world, "web", host={"links": ["db"]})
        await world.containers.remove("db", force=True, volumes=False, link=False)
        again = await world.restarted()
        await again.containers.start("web")

    asyncio.run(main())


def test_the_hosts_file_follows_a_target_that_moved(world, monkeypatch):
    async def main():
        await started(world, "db")
        await started(world, "web", host={"links": ["db:data"]})
        path = f"{world.context.store.get('web').directory}/hosts"
        with open(path, "a") as file:
            file.write("10.0.0.1\tmine\n")
        for address in ("172.17.0.9", "172.17.0.10"):
            monkeypatch.setattr("corten.engine.containers.links._address", lambda *_, a=address: a)
            await world.containers.restart("db", timeout_s=None, signal="")
        text = Path(path).read_text()
        assert text.count("data") == 1
        assert "172.17.0.10\tdata" in text and "10.0.0.1\tmine\n" in text

    asyncio.run(main())
