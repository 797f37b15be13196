"""A server that takes the connection and then says nothing: the delivery fails in time and is tried again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from shipper.aws.rest import RestClient
from shipper.aws.settings import AwsSettings, NoCredentials
from shipper.aws.signing import RequestSigner
from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.cloudwatch import CloudwatchOutput
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.forward.output import ForwardOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.outputs.loki.grafana_loki import GrafanaLokiOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.testing import batch_of

from .answers import LINES
from .delivering import delivering
from .s3.making import options_of, running

pytestmark = pytest.mark.usefixtures("aws_keys")

Mode = Literal["silent", "half", "deaf"]
LIMIT_S = 0.1
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{"


class Silent(asyncio.Protocol):
    """A connection on which nothing is said, or an answer is begun only, or nothing is even read."""

    def __init__(self, server: Hanging) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._server.opened.append(time.monotonic())
        self._server.transports.append(transport)
        if self._server.mode == "deaf":
            transport.pause_reading()
        if self._server.mode == "half":
            transport.write(HALF)


class Hanging:
    """A server that takes connections and answers nothing; `opened` are the moments when they came."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.port = 0
        self.opened: list[float] = []
        self.transports: list[asyncio.Transport] = []


@asynccontextmanager
async def hanging(mode: Mode = "silent") -> AsyncIterator[Hanging]:
    server = Hanging(mode)
    running = await asyncio.get_running_loop().create_server(lambda: Silent(server), "127.0.0.1", 0)
    server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()
        for transport in server.transports:
            transport.abort()
        await running.wait_closed()


async def until_tried_thrice(server: Hanging) -> None:
    """Wait for the third connection; each must come soon after the one before."""
    async with asyncio.timeout(5):
        while len(server.opened) < 3:  # noqa: ASYNC110  # the server has nothing to tell
            await asyncio.sleep(0.005)
    assert all(later - earlier < 5 * LIMIT_S + 0.5 for earlier, later in itertools.pairwise(server.opened))


HANDSHAKE = "tls on\ntls.verify off\nnet.connect_timeout 0.1"
IO = f"net.io_timeout {LIMIT_S}"
AWS_TLS = "tls.verify off\nnet.connect_timeout 0.1"
FORWARD = "host 127.0.0.1\nport {port}"


@pytest.mark.parametrize(
    ("kind", "lines", "mode"),
    [
        *[(kind, f"{lines}\n{IO}", mode) for kind, lines in LINES.items() for mode in ("silent", "half")],
        (CloudwatchOutput, f"{LINES[CloudwatchLogsOutput]}\n{IO}", "silent"),
        (GrafanaLokiOutput, f"url http://127.0.0.1:{{port}}/loki/api/v1/push\ntimeout {LIMIT_S}", "silent"),
        (HttpOutput, f"{LINES[HttpOutput]}\nhttp.response_timeout {LIMIT_S}", "silent"),
        (ForwardOutput, f"{FORWARD}\n{IO}\nrequire_ack_response on", "silent"),
        (ForwardOutput, f"{FORWARD}\n{IO}\nshared_key k", "silent"),
        (ForwardOutput, f"{FORWARD}\n{IO}\n", "deaf"),
        (HttpOutput, f"{LINES[HttpOutput]}\n{IO}", "deaf"),
        *[
            (kind, f"{LINES[kind]}\n{HANDSHAKE}", "silent")
            for kind in (LokiOutput, HttpOutput, EsOutput, OpensearchOutput)
        ],
        (ForwardOutput, f"{FORWARD}\n{HANDSHAKE}", "silent"),
        *[
            (kind, f"{LINES[kind].replace('http:', 'https:')}\n{AWS_TLS}", "silent")
            for kind in (CloudwatchLogsOutput, KinesisStreamsOutput, KinesisFirehoseOutput)
        ],
        (
            HttpOutput,
            "host 127.0.0.1\nport 1\noauth2.enable on\noauth2.token_url http://127.0.0.1:{port}/t\n"
            f"oauth2.timeout {LIMIT_S}",
            "silent",
        ),
        (
            HttpOutput,
            "host 127.0.0.1\nport 1\noauth2.enable on\noauth2.token_url https://127.0.0.1:{port}/t\n"
            f"oauth2.connect_timeout {LIMIT_S}",
            "silent",
        ),
        (HttpOutput, f"host 10.0.0.1\nport 1\nproxy http://127.0.0.1:{{port}}\ntls on\nnet.connect_timeout {LIMIT_S}",
         "silent"),
    ],
)  # fmt: skip
async def test_a_server_that_does_not_answer_is_given_up_in_time_and_tried_again(
    kind: type[Output], lines: str, mode: Mode, tmp_path: Path
) -> None:
    # What the system itself buffers must be full before a server that does not read is noticed.
    batch = batch_of(*["x" * 1_000_000] * 8) if mode == "deaf" else batch_of("a")
    async with hanging(mode) as server, delivering(kind, lines.format(port=server.port), tmp_path) as one:
        one.put(batch)
        await until_tried_thrice(server)

        assert one.count("retries_total") >= 1
        assert one.count("proc_records_total") == 0
        assert one.dispatcher.held()[0] == len(batch)


@pytest.mark.parametrize(
    ("scheme", "more", "mode"), [("http", IO, "silent"), ("http", IO, "half"), ("https", AWS_TLS, "silent")]
)
async def test_a_bucket_that_does_not_answer_is_given_up_in_time_and_tried_again(
    scheme: str, more: str, mode: Mode, tmp_path: Path
) -> None:
    async with hanging(mode) as server:
        options = options_of(f"{scheme}://127.0.0.1:{server.port}", tmp_path, f"upload_timeout 0.05\n{more}")
        async with running(options) as one:
            one.retry_after(0.01)
            one.put(batch_of("a"))
            await until_tried_thrice(server)

            assert one.count("upload_failures_total") >= 1
            assert one.dispatcher.held()[0] == 1


async def test_credentials_that_nobody_gives_out_are_waited_for_as_long_as_a_call_may_take() -> None:
    async with hanging() as server:
        settings = AwsSettings(
            region="us-east-1",
            credentials_endpoint=f"http://127.0.0.1:{server.port}/",
            io_timeout=0.5,
        )
        client, signer = RestClient("s3", "http://127.0.0.1:1", settings), RequestSigner("es", settings)
        await client.open()
        signer.open()
        started = time.monotonic()
        with pytest.raises(NoCredentials, match=r"no end within 0\.5 seconds"):
            await client.call("GET", "/")
        with pytest.raises(NoCredentials, match=r"no end within 0\.5 seconds"):
            await signer.signed("GET", "http://127.0.0.1:1/", {}, b"")
        await client.close()

        assert time.monotonic() - started < 2
        assert server.opened
