"""What goes along with a hot reload: the levels of the log, and the port of the monitoring API."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest

import shipper.engine
from shipper.outputs.base import Output
from shipper.pipeline import Pipeline
from shipper.testing import ListInput, MemoryOutput

from .service_bench import ServiceBench, Unopenable, Watched, pipeline_of, running, told


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


# -- the monitoring API ------------------------------------------------------------------------------------------------


async def is_answered(port: int, reloads: int) -> bool:
    """Whether somebody listens there, and tells of so many reloads."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
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


def served(port: int, output: Output | None = None) -> Pipeline:
    one = MemoryOutput() if output is None else output
    return pipeline_of(ListInput([]), one, http_server=True, http_port=port)


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
