"""Ids and invented names of containers, networks, execs."""

from __future__ import annotations

import os
import random

ID_LENGTH = 64
SHORT_LENGTH = 12

_HEX = frozenset("0123456789abcdef")


def new_id() -> str:
    """64 random hex digits, the first 12 never all decimal (a host name must not be a number)."""
    while True:
        candidate = os.urandom(ID_LENGTH // 2).hex()
        if not candidate[:SHORT_LENGTH].isdigit():
            return candidate


def short_id(identifier: str) -> str:
    """The 12 digits that are shown; an algorithm in front (`sha256:`) is dropped."""
    return identifier.rpartition(":")[2][:SHORT_LENGTH]


def is_id(text: str) -> bool:
    """Whether it is a full id."""
    return len(text) == ID_LENGTH and _HEX.issuperset(text)


def is_id_prefix(text: str) -> bool:
    """Whether it can be the beginning of an id."""
    return 0 < len(text) <= ID_LENGTH and _HEX.issuperset(text)


def invent_name(source: random.Random, *, attempt: int = 0) -> str:
    """A name such as `rusty_anvil`; from the second attempt on with a digit behind it."""
    name = f"{source.choice(_ADJECTIVES)}_{source.choice(_NOUNS)}"
    return name if attempt == 0 else f"{name}{source.randrange(10)}"


_ADJECTIVES = """
amber ancient ashen balanced blazing bold brazen bright bronzed brushed burnished calm candid cast
chilled copper coppery crisp curved dapper deep durable dusky eager earthy elastic even fearless fiery
fluted forged frosty gentle gilded glowing golden granular hardy hollow humble iron joined keen kindly
lively lofty lucid magnetic mellow molten nimble oaken ochre pale patient pewter placid polished proud
quiet resilient riveted robust rugged russet rustic rusty sanded serene sharp silent silver smooth
solid sooty spry steady steely stout sturdy subtle sunny tempered tidy tinned trusty umber unbent
valiant vivid warm weathered welded wiry woven zesty
""".split()  # noqa: SIM905

_NOUNS = """
alloy anchor anvil arch auger axle barge beacon beam bellows bobbin bolster bolt bracket brazier bridge
buckle buttress cable caliper cantilever casting chain chisel clamp cleat cog column coil corbel crane
crucible cupola derrick dock dowel drawbridge fender ferrule file flange flywheel forge foundry frame
furnace gantry gasket gauge gear girder grate hammer harbour hinge hoist hull ingot jetty joist keel
ladle lantern lathe latch lever lintel lock mallet mast mortise nail pier pillar pin piston plane plank
pulley quay rafter rail ratchet rivet rudder scaffold sheave shim sluice spanner spar spindle spring
sprocket strut tenon tongs tower trestle truss turbine valve vault washer wedge weir wharf winch
""".split()  # noqa: SIM905
