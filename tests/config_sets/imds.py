"""A stand-in for the metadata service of an EC2 instance, as far as the aws filter asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.components.http_server import Got, HttpServer, Says

_FACTS = {
    "/latest/meta-data/placement/availability-zone": b"us-east-1a",
    "/latest/meta-data/instance-id": b"i-0123456789abcdef0",
}


@asynccontextmanager
async def metadata_service() -> AsyncIterator[str]:
    """A service that runs as long as the block; gives its URL."""

    def judge(got: Got) -> Says:
        path = got.target.rstrip("/")
        return Says(body=_FACTS[path]) if path in _FACTS else Says(404)

    running = await asyncio.start_server(HttpServer(judge).serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        await running.wait_closed()
