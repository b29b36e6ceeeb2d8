"""Netlink: the kernel's sockets for configuring networks (netlink(7), rtnetlink(7)).

codec       bytes <-> messages and attributes, nothing else
socket      one batch per system call, acknowledged
route       links, addresses and routes (NETLINK_ROUTE)
sandbox     a network namespace with a veth pair, ready to be given to a container
nftables    whole rule sets through libnftables, atomically
elements    single elements of nftables sets and maps, at 10 us each
chains      which base chains there are
events      notice when a table of nftables is removed
sysctl      net.* parameters
conntrack   forget connections of a published port or an address

All but nftables are standard library only and cheap to import: the janitor uses them.
"""
