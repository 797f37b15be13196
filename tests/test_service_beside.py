"""What goes along with a hot reload: the levels of the log, and the port of the monitoring API."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

import shipper.engine
from shipper.config.units import Seconds
from shipper.errors import ConfigError, Rejected, RetryLater
from shipper.outputs.base import Output
from shipper.pipeline import Pipeline
from shipper.service import load_beside
from shipper.testing import ListInput, MemoryOutput, batch_of

from .service_bench import ServiceBench, Unopenable, Watched, mistake, pipeline_of, running, told


@pytest.fixture(autouse=True)
def untouched_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.engine, "_settle_memory", lambda: None)


@pytest.fixture(autouse=True)
def every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")


# -- the levels of the log ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "output", "level"),
    [
        ("log_level debug", "", MemoryOutput, logging.NOTSET),
        ("log_level error", "log_level debug", MemoryOutput, logging.DEBUG),
        ("log_level error", "log_level debug", Unopenable, logging.ERROR),
        ("", "log_level debug", Unopenable, logging.NOTSET),
    ],
)
async def test_an_instance_logs_at_the_level_of_the_configuration_that_runs(
    before: str, after: str, output: Callable[[], Output], level: int
) -> None:
    old = pipeline_of(ListInput([]), MemoryOutput(), input_lines=before)
    new = pipeline_of(ListInput([]), output(), input_lines=after)
    logger = logging.getLogger("shipper.input.in.0")
    async with running(ServiceBench(old, new)) as bench:
        await bench.reload()
        found = logger.level
        await bench.stop()
    logger.setLevel(logging.NOTSET)

    assert found == level


async def test_a_configuration_that_is_refused_does_not_change_the_levels_of_the_log() -> None:
    old = pipeline_of(ListInput([]), MemoryOutput(), input_lines="log_level error")
    new = pipeline_of(ListInput([]), MemoryOutput(), Watched(fails=True), input_lines="log_level debug")
    logger = logging.getLogger("shipper.input.in.0")
    async with running(ServiceBench(old, new)) as bench:
        await bench.reload()
        found = logger.level
        await bench.stop()
    logger.setLevel(logging.NOTSET)

    assert found == logging.ERROR


# -- reading beside the loop -------------------------------------------------------------------------------------------


async def test_files_that_cannot_be_read_are_given_up() -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def load(warnings: list[str]) -> Pipeline:
        warnings.append("remark")
        may_end.wait()
        has_ended.set()
        return pipeline_of(ListInput([]), MemoryOutput())

    remarks: list[str] = []
    with pytest.raises(ConfigError, match="could not be read within"):
        await load_beside(load, 0.05, remarks)
    may_end.set()

    # What comes too late is taken for nothing.
    assert has_ended.wait(20)
    assert remarks == ["remark"]


async def test_mistakes_come_from_the_thread_as_they_are() -> None:
    def load(warnings: list[str]) -> Pipeline:
        raise mistake()

    with pytest.raises(ConfigError, match="what is this"):
        await load_beside(load, 30, [])


# -- the monitoring API ------------------------------------------------------------------------------------------------


async def is_answered(port: int, reloads: int, address: str = "127.0.0.1") -> bool:
    """Whether somebody listens there, and tells of so many reloads."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.write(b"GET /api/v2/reload HTTP/1.1\r\nConnection: close\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    assert body == b'{"hot_reload_count":%d}' % reloads
    return True


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def served(port: int, output: Output | None = None, address: str = "127.0.0.1") -> Pipeline:
    one = MemoryOutput() if output is None else output
    return pipeline_of(ListInput([]), one, http_server=True, http_port=port, http_listen=address)


async def test_the_server_goes_on_with_the_next_engine_and_ends_with_the_last() -> None:
    port = free_port()
    async with running(ServiceBench(served(port), served(port))) as bench:
        answered = [await is_answered(port, 0)]
        await bench.reload()
        answered.append(await is_answered(port, 1))
        await bench.stop()
        answered.append(await is_answered(port, 1))

    assert answered == [True, True, False]


@pytest.mark.parametrize("is_served", [True, False])
async def test_the_server_moves_with_the_configuration(is_served: bool) -> None:
    first, second = free_port(), free_port()
    new = served(second) if is_served else pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(served(first), new)) as bench:
        await bench.reload()
        answered = [await is_answered(port, 1) for port in (first, second)]
        await bench.stop()

    assert answered == [False, is_served]


@pytest.mark.parametrize("same", [True, False])
async def test_the_server_comes_back_with_the_old_configuration(same: bool) -> None:
    first, second = free_port(), free_port()
    new = served(first if same else second, Unopenable())
    async with running(ServiceBench(served(first), new)) as bench:
        await bench.reload()
        answered = [await is_answered(port, 0) for port in (first, second)]
        await bench.stop()
        answered.append(await is_answered(first, 0))

    assert answered == [True, False, False]


async def test_the_server_moves_to_another_address_of_its_port() -> None:
    port = free_port()
    async with running(ServiceBench(served(port), served(port, address="0.0.0.0"), served(port))) as bench:
        answered = [await is_answered(port, 0, "127.0.0.2")]
        for reloads in (1, 2):
            await bench.reload()
            answered += [await is_answered(port, reloads, address) for address in ("127.0.0.1", "127.0.0.2")]
        await bench.stop()

    assert answered == [False, True, True, True, False]


@pytest.mark.parametrize(("output", "address"), [(Unopenable(), "0.0.0.0"), (MemoryOutput(), "192.0.2.1")])
async def test_the_server_comes_back_to_its_address(output: Output, address: str) -> None:
    port = free_port()
    async with running(ServiceBench(served(port), served(port, output, address))) as bench:
        await bench.reload()
        answered = [await is_answered(port, 0, address) for address in ("127.0.0.1", "127.0.0.2")]
        await bench.stop()

    assert answered == [True, False]


async def health(port: int) -> str:
    """The page of the health."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/health HTTP/1.1\r\nConnection: close\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    return body


def checked(port: int, *outcomes: Exception, **service: Any) -> Pipeline:
    """A pipeline whose output gets a record, and does this with it; not waited for at a reload."""
    options = {"http_server": True, "http_port": port, "health_check": True, "reload_timeout": Seconds(1), **service}
    return pipeline_of(ListInput([batch_of("a")]), MemoryOutput(outcomes), **options)


async def test_health_is_not_better_for_a_reload_but_for_what_gets_through() -> None:
    port, away = free_port(), [RetryLater("away")] * 1000
    # Its second attempt gets through.
    mended = checked(port, RetryLater("away"), scheduler_base=10.0, scheduler_cap=10.0)
    async with running(ServiceBench(checked(port, *away), checked(port, *away), mended)) as bench:
        await bench.pass_time(100)
        found = [await health(port)]
        for _ in range(2):
            bench.service.request_reload("SIGHUP")
            await bench.pass_time(2)
            found.append(await health(port))
        await bench.pass_time(20)
        found.append(await health(port))
        reloads = bench.service.engine.reloads
        await bench.stop(within=5)

    assert reloads == 2
    stalled = [re.match(r"error\noutput ou\.0: nothing accepted for (\d+) s", text) for text in found]
    assert [int(told[1]) > 90 for told in stalled if told] == [True] * 3
    assert found[3] == "ok\n"


async def test_errors_count_for_the_period_whatever_is_reloaded() -> None:
    port, limits = free_port(), {"hc_errors_count": 0, "hc_period": 30}
    first = checked(port, Rejected("no"), **limits)
    async with running(ServiceBench(first, checked(port, **limits))) as bench:
        for _ in range(10):
            await bench.pass_time(1)
        found = [await health(port)]
        await bench.reload()
        found.append(await health(port))
        for _ in range(4):
            await bench.pass_time(10)
        found.append(await health(port))
        await bench.stop()

    assert [text.partition("\n")[2] for text in found] == [
        "outputs: 1 errors in 30 s, more than hc_errors_count 0\n",
        "outputs: 1 errors in 30 s, more than hc_errors_count 0\n",
        "",
    ]


async def test_a_port_of_the_new_configuration_that_is_taken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    first = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with running(ServiceBench(served(first), served(taken.getsockname()[1]))) as bench:
            await bench.reload()
            is_back = await is_answered(first, 0)
            await bench.stop()

    assert is_back
    assert told(caplog, "choose others with http_listen and http_port") == 1
