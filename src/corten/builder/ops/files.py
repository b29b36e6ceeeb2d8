"""File operations: COPY, ADD, WORKDIR, in one worker job per step."""

from __future__ import annotations

import msgspec

from corten.builder.blocking import run_job
from corten.builder.graph import Action, CopyAction, File
from corten.builder.ops.step import Step
from corten.builder.results import Snapshot
from corten.digest import Digest
from corten.errors import CortenError, InternalError, InvalidParameter
from corten.snapshots.layers import Hashed


async def change_files(step: Step, op: File) -> Hashed | None:
    """Write what the actions say into the step's upperdir. Raises with `COPY failed: ` before the cause.

    Returns what the layer's name will be, if that has come to be known on the way.
    """
    params = {
        "mountpoint": step.session.mountpoint,
        "root": {"lower": _lower(step), "upper": step.upper.upper, "work": step.upper.work},
        "inputs": {
            str(number): step.tree(step.inputs[number])
            for number in {action.input for action in op.actions if isinstance(action, CopyAction)}
        },
        "actions": [_described(action) for action in op.actions],
    }
    try:
        answer = await run_job(step.workers, "corten.builder.jobs:change_files", params)
    except InvalidParameter as error:
        raise InvalidParameter(f"{step.keyword} failed: {error}") from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        why = (error.strerror or str(error)).lower()
        raise InternalError(f"{step.keyword} failed: {place}{why}") from error
    except CortenError as error:
        raise InternalError(f"{step.keyword} failed: {error}") from error
    return Hashed(Digest(str(answer["diff_id"])), int(str(answer["size"]))) if answer else None


def _lower(step: Step) -> list[str]:
    root = step.inputs[0]
    return list(step.lower) if isinstance(root, Snapshot) and root.layers else []


def _described(action: Action) -> object:
    return msgspec.to_builtins(action)
