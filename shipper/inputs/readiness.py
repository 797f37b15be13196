"""Waiting until a descriptor can be read."""

from __future__ import annotations

import asyncio

from ..clock import Clock


async def readable(fd: int, clock: Clock, timeout_s: float | None = None) -> bool:
    """Wait until there is something to read, at most for so long; true if there is.

    The loop watches the descriptor only during the wait, so nothing turns round while nobody reads.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()

    def tell() -> None:
        loop.remove_reader(fd)
        ready.set()

    loop.add_reader(fd, tell)
    try:
        return await clock.wait(ready, timeout_s)
    finally:
        loop.remove_reader(fd)
