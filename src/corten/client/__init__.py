"""Client of the Engine API: HTTP/1.1 on a unix socket, TCP or TLS, written on raw sockets.

Used by `corten.cli`, which starts under `python -I -S`: standard library only, and nothing at import
time that costs more than about a millisecond (no `json`, `re`, `enum`, `typing`, `socket`, `ssl`;
what needs them imports them when it runs). Never imports the engine.

    address      where the engine listens: -H, CORTEN_HOST, DOCKER_HOST, the default socket
    contexts     docker's contexts: named engines
    transport    one connected byte stream that can half-close: unix, tcp, TLS
    ssh          the same to another machine, through its command line
    http         HTTP/1.1 over a transport: requests, responses, chunked bodies
    engine       the engine behind an address: versioned calls, keep-alive, errors, hijacked streams
    stdcopy      frames of multiplexed stdout and stderr
    jsontext     JSON without the `json` package
    query        percent-encoding of paths and query strings
    errors       what can go wrong, with the texts users see
"""
