"""Whether the system asks silent peers if they are still there: nothing else would tell of a cut cable."""

from __future__ import annotations

import asyncio
import socket

from .settings import TcpKeepalive


def watch_peer(transport: asyncio.BaseTransport, chosen: TcpKeepalive) -> None:
    """Have the peer of a connection asked while nothing is said; does nothing for sockets that are not TCP."""
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        watch_socket(found, chosen)


def watch_socket(found: socket.socket, chosen: TcpKeepalive) -> None:
    """The same for a TCP socket, connected or not."""
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", chosen.idle_s),
        ("TCP_KEEPINTVL", chosen.interval_s),
        ("TCP_KEEPCNT", chosen.probes),
    ):
        # Not every system has all of these.
        if value is not None and (option := getattr(socket, name, None)) is not None:
            found.setsockopt(socket.IPPROTO_TCP, option, value)
