"""Requests as clients write them, and the answers to them."""

from __future__ import annotations

import asyncio

from ..listening.running import PATIENCE_S, Running, connected, ended

JSON = "application/json"


def request(
    body: bytes = b'{"a":1}', kind: str | None = JSON, *, method: str = "POST", target: str = "/", more: str = ""
) -> bytes:
    typed = f"Content-Type: {kind}\r\n" if kind is not None else ""
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{typed}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the next answer."""
    async with asyncio.timeout(PATIENCE_S):
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(line.split()[1]), headers, body.decode().strip()


async def asked(http: Running, *requests: bytes) -> list[tuple[int, dict[str, str], str]]:
    """The answers to requests on one connection."""
    reader, writer = await connected(http.port)
    answers = []
    for one in requests:
        writer.write(one)
        answers.append(await answer_of(reader))
    await ended(writer)
    return answers
