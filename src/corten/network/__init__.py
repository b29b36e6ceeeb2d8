"""Networks: bridges, addresses, published ports, and the files that name them inside a container.

`controller.Controller` is what the engine talks to. It is synchronous and belongs to the event loop's
thread: no call waits for a peer, and what a starting container costs stays under 0.4 ms.

Truth: networks, endpoints and port bindings are rows of the ledger before the kernel hears of them; the
firewall table is rewritten from the rows at every start and never read. In the kernel we own

    link    <bridge>              one per bridge network, kept while the engine is down
    link    vc<hex>               host end of a container's veth; goes with its network namespace
    link    vx-<hex>              tunnel of an overlay network to its peers, a port of its bridge
    link    <parent>.<vlan>, dm-<hex>    parents of macvlan and ipvlan networks, if we have made them
    table   ip <table>, ip6 <table>      NAT and forwarding rules, published ports as map elements
    table   inet <table>_user    the administrator's: made, never changed
    sysctl  net.ipv4.ip_forward, net.ipv6.conf.all.forwarding, net.ipv4.conf.<bridge>.route_localnet,
            net.ipv6.conf.<bridge>.accept_ra, net.ipv6.conf.<host's links>.accept_ra

and one bound socket per published port, so that nobody else gets that port.

On disk this package owns nothing but its tables in the ledger (corten.metadata.schema).
What plugins make for networks and endpoints is theirs; `plugged` holds the claims on it.
It never creates namespaces in the engine's main thread, and never touches rules that are not its own.
"""
