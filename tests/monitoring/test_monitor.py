"""The monitoring API of a whole engine, over the loopback."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

import shipper.engine
from shipper.config.service import ServiceOptions
from shipper.errors import ConfigError
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.monitoring.monitor import Monitor
from shipper.testing import ListInput, ManualClock, MemoryOutput, batch_of

from ..engine_bench import EngineBench, running


@pytest.fixture(autouse=True)
def untouched_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.engine, "_settle_memory", lambda: None)


@asynccontextmanager
async def monitor_of(**service: Any) -> AsyncIterator[Monitor]:
    monitor = Monitor(ServiceOptions(http_server=True, http_port=0, **service), Metrics(), ManualClock())
    await monitor.open()
    try:
        yield monitor
    finally:
        await monitor.close()


async def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split(b" ")[1]), body


async def port_of(caplog: pytest.LogCaptureFixture) -> int:
    """The port that the log tells."""
    for _ in range(200):
        if found := re.search(r"\[http_server\] listen iface=127\.0\.0\.1 tcp_port=(\d+)", caplog.text):
            return int(found[1])
        await asyncio.sleep(0.005)
    raise AssertionError(caplog.text)


async def test_an_engine_serves_its_numbers_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shipper")
    bench = EngineBench([ListInput([batch_of("a", "b")])], [MemoryOutput()], http_server=True, http_port=0)
    async with running(bench):
        port = await port_of(caplog)
        await bench.pass_time(3)
        status, body = await get(port, "/api/v1/metrics")
        ready = await get(port, "/ready")
        code = await bench.stop(2)

    metrics = msgspec.json.decode(body)
    assert (status, ready, code) == (200, (200, b"ok\n"), 0)
    assert metrics["input"]["in.0"]["records"] == metrics["output"]["ou.0"]["proc_records"] == 2
    with pytest.raises(OSError):
        await get(port, "/")


def test_an_engine_without_the_server_imports_none_of_it() -> None:
    code = "import sys; import shipper.engine; print([m for m in sys.modules if m.startswith('shipper.monitoring')])"

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert loaded == "[]\n"


async def test_the_engine_hands_a_reload_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shipper")
    asked: list[bool] = [True]
    bench = EngineBench([ListInput([])], [MemoryOutput()], http_server=True, http_port=0, hot_reload=True)
    bench.engine.reload = asked.pop
    bench.engine.reloads = 2
    async with running(bench):
        port = await port_of(caplog)
        answer = await get(port, "/api/v2/reload", "POST")
        count = await get(port, "/api/v2/reload")
        await bench.stop(2)

    assert answer == (200, b'{"reload":"done","status":0}')
    assert (asked, count) == ([], (200, b'{"hot_reload_count":2}'))


async def test_without_hot_reload_nobody_is_asked() -> None:
    service = ServiceOptions(http_server=True, http_port=0)
    monitor = Monitor(service, Metrics(), ManualClock(), reload=lambda: pytest.fail("asked"))
    await monitor.open()
    answer = await get(monitor.port, "/api/v2/reload", "POST")
    await monitor.close()

    assert answer == (200, b'{"reload":"not enabled","status":-1}')


async def test_a_port_in_use_ends_the_start_with_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monitor = Monitor(ServiceOptions(http_server=True, http_port=port), Metrics(), ManualClock())
        with pytest.raises(ConfigError) as failed:
            await monitor.open()

    assert f"cannot listen on 127.0.0.1 port {port}" in str(failed.value)
    assert failed.value.exit_code == 255


@pytest.mark.parametrize("port", [-1, 70000])
async def test_a_port_that_is_none_ends_the_start(port: int) -> None:
    monitor = Monitor(ServiceOptions(http_server=True, http_port=port), Metrics(), ManualClock())
    with pytest.raises(ConfigError) as failed:
        await monitor.open()

    assert f"invalid monitoring tcp_port '{port}'" in str(failed.value)


async def test_an_address_that_is_not_ours_ends_the_start() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        async with monitor_of(http_listen="192.0.2.1"):
            pass


def test_the_server_is_for_the_machine_itself_by_default() -> None:
    assert ServiceOptions().http_listen == "127.0.0.1"


async def test_log_lines_are_counted_by_level() -> None:
    metrics = Metrics()
    monitor = Monitor(ServiceOptions(http_server=True, http_port=0), metrics, ManualClock())
    await monitor.open()
    Log("").warning("careful")
    await monitor.close()
    Log("").warning("nobody counts")

    assert metrics.by_label("logger_logs_total", "message_type")["warn"] == 1
