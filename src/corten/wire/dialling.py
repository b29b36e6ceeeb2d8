"""Why a server could not be reached or broke off, in the words of Go, which are what users search for."""

from __future__ import annotations

import http.client
import socket
import ssl


def why_not_reached(error: Exception, host: str | None, port: int) -> str:
    """Of connecting to a server."""
    address = f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {address}: connect: connection refused"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, TimeoutError):
        return f"dial tcp {address}: i/o timeout"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, http.client.HTTPException | ConnectionResetError):
        return why_broken_off(error)
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {address}: connect: {error.strerror.lower()}"
    return why_broken_off(error)


def why_broken_off(error: Exception) -> str:
    """Of reading an answer."""
    if isinstance(error, TimeoutError):
        return "net/http: request canceled (Client.Timeout or context cancellation while reading body)"
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "unexpected EOF"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error) or type(error).__name__
