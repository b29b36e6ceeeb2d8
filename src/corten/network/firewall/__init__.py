"""Our nf_tables table: NAT, published ports, isolation.

ruleset   the table as text: a pure function of networks and published ports
table     the table in the kernel: replaced as a whole, or changed by one port
keeper    the table kept in the kernel, and forwarding switched on
"""
