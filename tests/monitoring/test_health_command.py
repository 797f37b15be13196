"""`shipper health` against the pages of a shipper, and against servers that do not answer as they should."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shipper.cli import main
from shipper.log import Log
from shipper.metrics import Counter
from shipper.monitoring.health_command import run_health
from shipper.monitoring.server import HttpServer
from shipper.testing import MemoryOutput

from .scene import Scene, delivering


@asynccontextmanager
async def served(scene: Scene, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The port at which the pages of the scene are served, as text."""
    server = HttpServer(host, 0, scene.pages.answer, Log("[http_server] "), Counter())
    await server.open()
    try:
        yield str(server.port)
    finally:
        await server.close()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The port of a server that says this to everybody and keeps the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield str(server.sockets[0].getsockname()[1])


async def asked(*arguments: str) -> int:
    return await asyncio.to_thread(run_health, arguments)


def stalled() -> Scene:
    """A scene whose output never gets an answer."""
    return Scene(MemoryOutput(hang=asyncio.Event()))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
async def test_a_shipper_that_gets_on_is_good(capsys: pytest.CaptureFixture[str], host: str) -> None:
    async with delivering(Scene()) as scene, served(scene, host) as port:
        status = await asked("--port", port)

    assert (status, capsys.readouterr().out) == (0, "ok\n")


@pytest.mark.parametrize("has_option", [True, False], ids=["health_check on", "health_check off"])
async def test_a_shipper_that_does_not_get_on_is_bad_with_the_reason(
    capsys: pytest.CaptureFixture[str], has_option: bool
) -> None:
    scene = stalled()
    if not has_option:
        scene = Scene(MemoryOutput(hang=asyncio.Event()), health_check=False)
    async with delivering(scene), served(scene) as port:
        scene.put("a")
        await scene.pass_time(60)
        status = await asked("-u", f"http://127.0.0.1:{port}")

    assert status == 1
    assert capsys.readouterr().out.splitlines() == [
        "error",
        "output out.0: nothing accepted for 60 s, 1 records (2 bytes) wait; 1 deliveries without an answer",
    ]


@pytest.mark.parametrize("has_option", [True, False], ids=["health_check on", "health_check off"])
async def test_warnings_are_told_and_leave_the_status(capsys: pytest.CaptureFixture[str], has_option: bool) -> None:
    scene = Scene(health_check=has_option)
    async with delivering(scene), served(scene) as port:
        await scene.pass_time(1)
        scene.input.dropped(1, 10, "invalid_json")
        await scene.pass_time(1)
        status = await asked("-P", port)

    assert status == 0
    assert capsys.readouterr().out == "ok\nwarning: input app: 1 records lost in 60 s: invalid_json\n"


async def test_a_page_that_is_named_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene()
    async with served(scene) as port:
        ready = await asked("-u", f"http://127.0.0.1:{port}/ready")
        live = await asked("-u", f"http://127.0.0.1:{port}/live")
        nothing = await asked("-u", f"http://127.0.0.1:{port}/nope")

    assert (ready, live, nothing) == (1, 0, 1)
    assert capsys.readouterr().out == "starting\nok\nstatus 404\n"


async def test_nobody_at_the_port_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = dead.getsockname()[1]
        status = await asked("-P", str(port))

    assert status == 1
    assert capsys.readouterr().out == f"no answer from 127.0.0.1 port {port}: Connection refused\n"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 \r\n\r\nok"], ids=["nothing", "no end"])
async def test_the_wait_is_bounded(capsys: pytest.CaptureFixture[str], answer: bytes) -> None:
    async with answering(answer) as port:
        began = time.monotonic()
        status = await asked("--port", port, "--timeout", "0.3")
        took_s = time.monotonic() - began

    assert status == 1
    assert capsys.readouterr().out == f"no answer from 127.0.0.1 port {port}: not within 0.3 s\n"
    assert took_s < 30


async def test_another_protocol_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(b"SSH-2.0-OpenSSH\r\n" + b"x" * 1_000_000) as port:
        status = await asked("-P", port)

    assert (status, capsys.readouterr().out) == (1, f"no answer from 127.0.0.1 port {port}: what came is no HTTP\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-P", "x"], "'x' is no port"),
        (["-P", "70000"], "'70000' is no port"),
        (["-u", "127.0.0.1:2020"], "'127.0.0.1:2020' is no address of a monitoring API"),
        (["-u", "https://127.0.0.1"], "'https://127.0.0.1' is no address of a monitoring API"),
        (["-u", "http://a/ b"], "'http://a/ b' is no address of a monitoring API"),
        (["-u", "http://a:99999"], "Port out of range"),
        (["-t", "0"], "'0' is no time to wait"),
        (["-t", "nan"], "'nan' is no time to wait"),
        (["x"], "'x' is too much"),
        (["--nope"], "option --nope not recognized"),
    ],
)
def test_wrong_arguments_are_told_and_ask_nobody(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    status = run_health(arguments)

    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith(f"shipper health: {told}") and "usage: shipper health" in err


def test_the_command_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["health", "--help"])

    assert status == 0
    assert capsys.readouterr().out.startswith("usage: shipper health")
