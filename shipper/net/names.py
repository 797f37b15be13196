"""Addresses of a host, with the last good answer when the resolver gives none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import chain, zip_longest
from typing import Any

from ..clock import Clock
from ..log import Log

FRESH_S = 10.0
"""An answer is used for so long, and a resolver that failed is left alone for so long if there is an older answer."""

Resolve = Callable[[str, int], Awaitable[list[Any]]]


class HostNames:
    """The addresses of one host. Looks names up in the system's way, in a thread, never twice at one time."""

    def __init__(self, host: str, port: int, clock: Clock, log: Log, resolve: Resolve | None = None) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._log = log
        self._resolve = resolve or _system_resolve
        self._good: list[str] = []
        self._fresh_until = float("-inf")
        self._lookup: asyncio.Task[list[str]] | None = None

    async def addresses(self, patience_s: float) -> list[str]:
        """The addresses in the order to try; waits for the resolver, at most so long.

        Raises `OSError` if the resolver gives no answer and never has.
        """
        if self._good and self._clock.monotonic() < self._fresh_until:
            return self._good
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.create_task(self._look_up())
            self._lookup.add_done_callback(_take_note)
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(self._lookup)
        except (OSError, TimeoutError) as error:
            if not self._good:
                if isinstance(error, TimeoutError) and not isinstance(error, socket.gaierror):
                    raise OSError(f"the resolver did not answer for {patience_s:g} seconds") from error
                raise
            self._fresh_until = self._clock.monotonic() + FRESH_S
            self._log.warning(
                f"cannot look up {self._host}; its last known address is used", every=60, reason=error or "no answer"
            )
            return self._good

    def doubt(self) -> None:
        """No address could be connected to: look the name up again for the next connection."""
        self._fresh_until = float("-inf")

    async def close(self) -> None:
        """Give up a lookup that is under way."""
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.gather(self._lookup, return_exceptions=True)

    async def _look_up(self) -> list[str]:
        found = in_turns([_address(info) for info in await self._resolve(self._host, self._port)])
        if not found:
            raise OSError(f"{self._host} has no address")
        self._good = found
        self._fresh_until = self._clock.monotonic() + FRESH_S
        return found


def in_turns(addresses: list[str]) -> list[str]:
    """The same addresses without repetition, IPv6 and IPv4 taking turns, beginning with the family of the first."""
    unique = list(dict.fromkeys(addresses))
    first = [a for a in unique if (":" in a) == (":" in unique[0])]
    other = [a for a in unique if (":" in a) != (":" in unique[0])]
    return [a for a in chain.from_iterable(zip_longest(first, other)) if a is not None]


def _address(info: Any) -> str:
    sockaddr = info[4]
    return f"{sockaddr[0]}%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] else str(sockaddr[0])


def _take_note(lookup: asyncio.Task[list[str]]) -> None:
    # Whoever waited may have gone; without this, asyncio complains about an error nobody looked at.
    if not lookup.cancelled():
        lookup.exception()


async def _system_resolve(host: str, port: int) -> list[Any]:
    return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))
