"""The processes that outlive the engine, each one single-threaded and import-light.

    supervisor   parent of every container: clones them, hears of their exits, keeps their stdio
    log writer   reads containers' output, writes log files, feeds who is attached
    janitor      what can stall: removing cgroups and directories, closing namespaces, making network
                 sandboxes ahead of need
    netd         answers containers on user-defined networks that ask for names; not before there are any
    relay        passes on what comes to ports published in the mode "socket"; not before there are any

    engine ──supervisor.sock──► supervisor ──logs.sock──► log writer ◄──logs.sock── engine
                                     └──────janitor.sock──► janitor ◄──janitor.sock── engine

All talk JSON with descriptors over SOCK_SEQPACKET (`corten.linux.seqpacket`). The supervisor starts the
others, with their listening sockets, and starts them again when they die; they outlive it, too: a new
supervisor finds them at their sockets. Run as `python -I -S <this folder> ROLE EXEC_ROOT ...`.

On disk (EXEC_ROOT, a tmpfs: nothing here outlives the machine's boot):
    supervisor.sock logs.sock janitor.sock netd.sock relay.sock
    tasks/<id>      one JSON record per task: pid, start time, cgroup, log target
    exits           a line per exit, written before anybody is told
    mnt/            every task mounts its overlay here, in its own mount namespace
"""
