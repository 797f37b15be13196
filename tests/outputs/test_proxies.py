"""Outputs that make requests: through a proxy, through a tunnel, and with certificates that are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater
from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.testing import ManualClock, batch_of, context_of

from ..net.server import ByteServer
from ..net.test_http import certificate, server_context
from ..written_options import options_from
from .s3.making import options_of, running

TAKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\nx-amzn-RequestId: 1\r\nETag: "e"\r\n\r\n{"errors":false}'
OUTPUTS = [HttpOutput, EsOutput, OpensearchOutput, LokiOutput]
PATHS: dict[type[Output], bytes] = {
    HttpOutput: b"POST %b/ HTTP",
    EsOutput: b"POST %b/_bulk HTTP",
    OpensearchOutput: b"POST %b/_bulk HTTP",
    LokiOutput: b"POST %b/loki/api/v1/push HTTP",
}


@asynccontextmanager
async def output_to(kind: type[Output], lines: str, clock: ManualClock | None = None) -> AsyncIterator[Output]:
    output = kind(options_from(kind.Options, lines, "output"), context_of("output", clock=clock or ManualClock()))
    await output.open()
    try:
        yield output
    finally:
        await output.close()


async def taken(output: Output) -> int:
    """How many records of a delivery of one are taken."""
    delivery = Delivery("", [batch_of("a")])
    await output.send(delivery)
    return delivery.accepted


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    found = ByteServer([TAKEN] * 10)
    await found.start()
    yield found
    await found.stop()


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_requests_go_through_the_proxy_of_the_environment(
    server: ByteServer, monkeypatch: pytest.MonkeyPatch, kind: type[Output]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{server.port}")
    async with output_to(kind, "host far.example\nport 8080") as output:
        accepted = await taken(output)

    assert accepted == 1
    assert server.requests[0].startswith(PATHS[kind] % b"http://far.example:8080")
    assert b"\r\nHost: far.example:8080\r\n" in server.requests[0]
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in server.requests[0]


@pytest.mark.parametrize("exempt", ["NO_PROXY", "net.proxy_env_ignore on"])
@pytest.mark.parametrize("kind", OUTPUTS)
async def test_hosts_that_are_exempt_are_spoken_to_directly(
    server: ByteServer, monkeypatch: pytest.MonkeyPatch, kind: type[Output], exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    if exempt == "NO_PROXY":
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    more = exempt if exempt != "NO_PROXY" else ""
    async with output_to(kind, f"host 127.0.0.1\nport {server.port}\n{more}") as output:
        accepted = await taken(output)

    assert accepted == 1
    assert server.requests[0].startswith(PATHS[kind] % b"")


async def test_logs_go_to_cloudwatch_through_the_proxy_of_the_environment(
    server: ByteServer, monkeypatch: pytest.MonkeyPatch, aws_keys: None
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{server.port}")
    lines = "region r\nlog_group_name g\nlog_stream_name s\nendpoint http://far.example:8080"
    async with output_to(CloudwatchLogsOutput, lines) as output:
        accepted = await taken(output)

    assert accepted == 1
    assert server.requests[-1].startswith(b"POST http://far.example:8080/ HTTP")
    assert b"X-Amz-Target: Logs_20140328.PutLogEvents\r\n" in server.requests[-1]
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in server.requests[-1]


async def test_objects_go_to_s3_through_the_proxy_of_the_environment(
    server: ByteServer, monkeypatch: pytest.MonkeyPatch, aws_keys: None, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    lines = "use_put_object on\nupload_timeout 0.05\ns3_key_format /k\nstatic_file_path on"
    async with running(options_of("http://far.example:8080", tmp_path, lines)) as one:
        one.put(batch_of("a line"))
        await one.drain()

        assert one.dispatcher.held()[0] == 0
    assert server.requests[0].startswith(b"PUT http://far.example:8080/b/k HTTP")
    assert b"a line" in server.requests[0]


@asynccontextmanager
async def tunnel_to(port: int, heads: list[bytes]) -> AsyncIterator[int]:
    """A proxy that lets everything through to one port; it keeps what it was asked for."""

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_tls_goes_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Output]) -> None:
    crt, key = certificate(tmp_path, "localhost")
    server, heads = ByteServer([TAKEN]), list[bytes]()
    await server.start(server_context(crt, key))
    async with tunnel_to(server.port, heads) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        lines = f"host localhost\nport {server.port}\ntls on\ntls.ca_file {crt}\ntls.verify_hostname on"
        async with output_to(kind, lines) as output:
            accepted = await taken(output)
    await server.stop()

    assert accepted == 1
    assert heads[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert server.requests[0].startswith(PATHS[kind] % b"")


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_the_certificate_may_have_another_name_than_the_host(tmp_path: Path, kind: type[Output]) -> None:
    crt, key = certificate(tmp_path, "inside.example")
    server = ByteServer([TAKEN])
    await server.start(server_context(crt, key))
    lines = f"host localhost\nport {server.port}\ntls on\ntls.ca_file {crt}\ntls.verify_hostname on"
    async with output_to(kind, lines) as output:
        with pytest.raises(RetryLater, match="certificate is not accepted"):
            await output.send(Delivery("", [batch_of("held")]))
    async with output_to(kind, f"{lines}\ntls.vhost inside.example") as output:
        accepted = await taken(output)
    await server.stop()

    assert (accepted, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("kind", OUTPUTS)
async def test_a_renewed_certificate_is_trusted_without_a_restart(tmp_path: Path, kind: type[Output]) -> None:
    crt, key = certificate(tmp_path, "localhost")
    clock, server = ManualClock(), ByteServer([TAKEN] * 3)
    context = server_context(crt, key)
    await server.start(context)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(crt.read_bytes())
    lines = f"host localhost\nport {server.port}\ntls on\ntls.ca_file {trusted}\nnet.keepalive off"
    async with output_to(kind, lines, clock) as output:
        before = await taken(output)
        renewed = certificate(tmp_path, "renewed")
        context.load_cert_chain(*renewed)
        with pytest.raises(RetryLater, match="certificate is not accepted"):
            await output.send(Delivery("", [batch_of("held")]))
        trusted.write_bytes(renewed[0].read_bytes())
        await clock.advance(2)
        after = await taken(output)
    await server.stop()

    assert (before, after) == (1, 1)
