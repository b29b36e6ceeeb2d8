"""The kernel's ABI: the only package that uses ctypes, ioctl, /proc and /sys.

Everything here raises OSError(errno, text, what) and nothing else. Modules that the supervisor
imports run under `python -I -S`: standard library only, and only what is cheap to import.
Functions keep the kernel's names; constants keep the kernel's spelling.
"""
