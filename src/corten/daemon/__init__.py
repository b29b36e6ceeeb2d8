"""The engine as a process: `cortend`, also `corten daemon`.

main.py      command line, life and signals of the process
options.py   every key of daemon.json and its flag, in one table
config.py    flags and file made one configuration, Docker's complaints included
wiring.py    the only place where concrete classes meet
listeners.py sockets: unix, TCP, handed over by systemd
instance.py  directories, pidfile, and the lock that keeps a second engine off the same root
"""
