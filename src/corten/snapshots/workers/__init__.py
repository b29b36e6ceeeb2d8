"""Worker processes: CPU- and file-bound jobs outside of the engine's process.

::

    engine ──socketpair──► nursery (single-threaded, spawned once, imports done)
      │                       │ fork per job (1 ms)
      └──socketpair per job──►job: runs one function, reports, answers, exits

The engine never forks. A job that is killed leaves only what it had in <root>/tmp; one whose engine dies
gets SIGKILL with its nursery, which ends when its socket does.
"""

from corten.snapshots.workers.pool import Job, JobFailed, WorkerPool

__all__ = ["Job", "JobFailed", "WorkerPool"]
