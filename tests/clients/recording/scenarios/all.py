"""Every scenario, by its group."""

from recording.scenarios import build, images, lifecycle, run, system

GROUPS: dict[str, dict[str, list[str]]] = {
    module.__name__.rpartition(".")[2]: module.SCENARIOS for module in (run, lifecycle, images, build, system)
}
