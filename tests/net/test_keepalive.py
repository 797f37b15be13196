"""How long a connection is kept, and what the system does about peers that say nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shipper.aws.rest import RestClient
from shipper.buffers.base import Delivery
from shipper.clock import SystemClock
from shipper.log import Log
from shipper.net.http import HttpClient
from shipper.net.settings import HttpSettings, TcpKeepalive, http_settings
from shipper.net.stream import Connector
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOptions
from shipper.outputs.forward.output import ForwardOptions, ForwardOutput
from shipper.outputs.http.output import HttpOptions
from shipper.outputs.s3.options import S3Options
from shipper.testing import batch_of, context_of

from ..components.forward_server import forward_server
from ..components.moto_server import aws_keys
from ..outputs.s3.server import SmallS3, s3
from ..written_options import options_from
from .server import ByteServer

__all__ = ["aws_keys", "s3"]  # fixtures

ON = "net.tcp_keepalive on\nnet.tcp_keepalive_time 17\nnet.tcp_keepalive_interval 5\nnet.tcp_keepalive_probes 4"
WATCHED = (1, 17, 5, 4)


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    found = ByteServer()
    await found.start()
    yield found
    await found.stop()


def settings_of(lines: str, port: int = 1) -> HttpSettings:
    return http_settings(options_from(HttpOptions, lines or "match *", "output"), "127.0.0.1", port)


def watched(found: Any) -> tuple[int, int, int, int]:
    """Whether the peer of a socket is asked, after how long, how often, and how many times."""
    tcp = [found.getsockopt(socket.IPPROTO_TCP, o) for o in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)]
    probes = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), tcp[0], tcp[1], probes


@pytest.mark.parametrize(
    ("lines", "requests_each", "expected"),
    [
        ("", 2000, None),
        ("net.keepalive_max_recycle 0", 0, None),
        ("net.keepalive_max_recycle 7\nnet.tcp_keepalive on", 7, TcpKeepalive()),
        (ON, 2000, TcpKeepalive(idle_s=17, interval_s=5, probes=4)),
        ("net.tcp_keepalive_time 17", 2000, None),
    ],
)
def test_options_become_settings(lines: str, requests_each: int, expected: TcpKeepalive | None) -> None:
    aws = options_from(
        CloudwatchLogsOptions, f"region r\nlog_group_name g\nlog_stream_name s\n{lines}", "output"
    ).aws_settings()
    http = settings_of(lines)

    assert (http.requests_each, http.tcp_keepalive) == (requests_each, expected)
    assert (aws.requests_each, aws.tcp_keepalive) == (requests_each, expected)


@pytest.mark.parametrize(("most", "connections"), [(1, 6), (2, 3), (4, 2), (6, 1), (0, 1)])
async def test_a_connection_serves_so_many_requests(server: ByteServer, most: int, connections: int) -> None:
    client = HttpClient(settings_of(f"net.keepalive_max_recycle {most}", server.port), SystemClock(), Log(""), {})
    await client.open()
    for _ in range(6):
        await client.request("GET", "/")
    await client.close()

    assert (len(server.requests), server.connections) == (6, connections)


async def test_a_connection_to_a_receiver_serves_so_many_messages() -> None:
    async with forward_server() as server:
        lines = f"host 127.0.0.1\nport {server.port}\nrequire_ack_response on\nnet.keepalive_max_recycle 2"
        output = ForwardOutput(options_from(ForwardOptions, lines, "output"), context_of("output"))
        await output.open()
        for number in range(5):
            await output.send(Delivery("", [batch_of(str(number))]))
        await output.close()

        assert (len(server.records), server.connections) == (5, 3)


async def test_the_peer_of_a_request_is_watched_if_asked_for(server: ByteServer) -> None:
    found = []
    for lines in (ON, ""):
        client = HttpClient(settings_of(lines, server.port), SystemClock(), Log(""), {})
        await client.open()
        await client.request("GET", "/")
        transport: Any = client._idle[0]._transport
        found.append(watched(transport.get_extra_info("socket")))
        await client.close()

    assert found[0] == WATCHED
    assert found[1][0] == 0


async def test_the_peer_of_a_stream_is_watched_if_asked_for(server: ByteServer, tmp_path: Path) -> None:
    connector = Connector(settings_of(ON, server.port), SystemClock(), Log(""))
    connector.open()
    _, writer = await connector.connect()
    found = watched(writer.get_extra_info("socket"))
    writer.close()
    await writer.wait_closed()
    await connector.close()

    assert found == WATCHED


@pytest.mark.parametrize("keepalive", ["on", "off"])
async def test_connections_to_s3_are_watched_and_kept_as_asked_for(s3: SmallS3, aws_keys: None, keepalive: str) -> None:
    options = options_from(S3Options, f"bucket b\nendpoint {s3.url}\nnet.keepalive {keepalive}\n{ON}", "output")
    client = RestClient("s3", options.base_url, options.aws_settings())
    await client.open()
    await client.call("PUT", "/k")
    kept: list[Any] = [connection._transport for connection in client._http._idle]
    found = [watched(transport.get_extra_info("socket")) for transport in kept]
    await client.close()

    assert found == ([WATCHED] if keepalive == "on" else [])
