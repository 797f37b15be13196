"""The options `net.*` and `tls.*` of outputs to AWS: the same ones, with the same effect, as elsewhere."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.aws.client import AwsClient
from shipper.aws.rest import RestClient
from shipper.aws.settings import NoAnswer
from shipper.errors import OptionError
from shipper.net.settings import TlsSettings
from shipper.outputs.aws_options import AwsOutputOptions
from shipper.outputs.cloudwatch_logs.cloudwatch import CloudwatchOptions
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOptions
from shipper.outputs.kinesis.firehose import KinesisFirehoseOptions
from shipper.outputs.kinesis.streams import KinesisStreamsOptions
from shipper.outputs.s3.options import S3Options

from ..net.server import ByteServer
from ..net.test_http import certificate, server_context
from ..written_options import options_from

pytestmark = pytest.mark.usefixtures("aws_keys")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LINES: dict[type[AwsOutputOptions], str] = {
    CloudwatchLogsOptions: "region r\nlog_group_name g\nlog_stream_name s",
    CloudwatchOptions: "region r\nlog_group_name g\nlog_stream_name s",
    S3Options: "region r\nbucket b",
    KinesisStreamsOptions: "region r\nstream s",
    KinesisFirehoseOptions: "region r\ndelivery_stream s",
}
Kind = type[AwsOutputOptions]
both = pytest.mark.parametrize("kind", [CloudwatchLogsOptions, S3Options])
"""The two clients that outputs have: one for services that speak JSON, one for S3."""


class Calls:
    """Makes calls as an output with these options does."""

    def __init__(self, options: Any) -> None:
        settings = options.aws_settings()
        self._rest = RestClient("s3", options.base_url, settings) if isinstance(options, S3Options) else None
        self._json = AwsClient("logs", settings) if self._rest is None else None

    async def open(self) -> None:
        client = self._rest or self._json
        assert client is not None
        await client.open()

    async def make(self) -> None:
        if self._rest is not None:
            await self._rest.call("PUT", "/k", {}, b"body")
        elif self._json is not None:
            await self._json.call("PutLogEvents", b"{}")

    async def close(self) -> None:
        client = self._rest or self._json
        assert client is not None
        await client.close()


@asynccontextmanager
async def calls_with(kind: Kind, endpoint: str, lines: str = "") -> AsyncIterator[Calls]:
    calls = Calls(options_from(kind, f"{LINES[kind]}\nendpoint {endpoint}\n{lines}", "output"))
    try:
        await calls.open()
        yield calls
    finally:
        await calls.close()


@asynccontextmanager
async def tls_server(folder: Path, name: str, prepare: Callable[[ssl.SSLContext], None]) -> AsyncIterator[ByteServer]:
    """A server whose certificate is for this name; it is in the folder as `<name>.pem`, the key beside it."""
    context = server_context(*certificate(folder, name))
    prepare(context)
    server = ByteServer([OK] * 10)
    await server.start(context)
    try:
        yield server
    finally:
        await server.stop()


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def nothing(context: ssl.SSLContext) -> None:
    """No preparation."""


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    found = ByteServer([OK] * 10)
    await found.start()
    yield found
    await found.stop()


@pytest.mark.parametrize("kind", LINES)
def test_every_option_becomes_a_setting(kind: Kind) -> None:
    lines = (
        "tls.ca_file a\ntls.ca_path b\ntls.crt_file c\ntls.key_file d\ntls.key_passwd e\ntls.vhost f\n"
        "tls.min_version 1.2\ntls.max_version 1.3\ntls.ciphers g\ntls.verify_hostname off\n"
        "net.source_address 127.0.0.9\nnet.proxy_env_ignore on\nnet.max_worker_connections 3"
    )
    found = options_from(kind, f"{LINES[kind]}\n{lines}", "output").aws_settings()

    assert found.tls == TlsSettings(
        ca_file="a",
        ca_path="b",
        crt_file="c",
        key_file="d",
        key_passwd="e",
        vhost="f",
        min_version="1.2",
        max_version="1.3",
        ciphers="g",
        verify_hostname=False,
    )
    assert (found.source_address, found.use_proxy, found.connections) == ("127.0.0.9", False, 3)


@pytest.mark.parametrize("kind", LINES)
def test_without_a_word_certificate_and_name_are_checked(kind: Kind) -> None:
    assert options_from(kind, LINES[kind], "output").aws_settings().tls == TlsSettings(verify_hostname=True)


@both
async def test_the_name_of_the_certificate_is_checked_against_the_endpoint_or_the_name_asked_for(
    tmp_path: Path, kind: Kind
) -> None:
    asked: list[str | None] = []

    def listen(context: ssl.SSLContext) -> None:
        context.sni_callback = lambda sock, name, ctx: asked.append(name)

    trusted = f"tls.ca_file {tmp_path}/logs.internal.pem"
    async with tls_server(tmp_path, "logs.internal", listen) as server:
        endpoint = f"https://localhost:{server.port}"
        async with calls_with(kind, endpoint, trusted) as calls:
            with pytest.raises(NoAnswer, match="certificate is not accepted"):
                await calls.make()
        for more in ("tls.vhost logs.internal", "tls.verify_hostname off", "tls.verify off"):
            async with calls_with(kind, endpoint, f"{trusted}\n{more}") as calls:
                await calls.make()

    assert asked == ["localhost", "logs.internal", "localhost", "localhost"]
    assert len(server.requests) == 3


@both
async def test_a_folder_of_certificates_may_be_trusted(tmp_path: Path, kind: Kind) -> None:
    async with tls_server(tmp_path, "localhost", nothing) as server:
        await asyncio.to_thread(openssl, "rehash", str(tmp_path))
        async with calls_with(kind, f"https://localhost:{server.port}", f"tls.ca_path {tmp_path}") as calls:
            await calls.make()

    assert len(server.requests) == 1


@both
async def test_a_certificate_of_its_own_is_shown(tmp_path: Path, kind: Kind) -> None:
    crt, key = certificate(tmp_path, "me")
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", str(key), "-out", str(locked), "-aes256", "-passout", "pass:secret")

    def demand(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(crt)

    trusted = f"tls.ca_file {tmp_path}/localhost.pem"
    own = f"tls.crt_file {crt}\ntls.key_file {locked}\ntls.key_passwd secret"
    async with tls_server(tmp_path, "localhost", demand) as server:
        endpoint = f"https://localhost:{server.port}"
        async with calls_with(kind, endpoint, trusted) as calls:
            with pytest.raises(NoAnswer):
                await calls.make()
        async with calls_with(kind, endpoint, f"{trusted}\n{own}") as calls:
            await calls.make()

    assert len(server.requests) == 1


@both
@pytest.mark.parametrize(
    ("own", "spoken"),
    [
        ("tls.min_version 1.3", ssl.TLSVersion.TLSv1_2),
        ("tls.max_version 1.2", ssl.TLSVersion.TLSv1_3),
        ("tls.ciphers AES256-SHA", ssl.TLSVersion.TLSv1_2),
    ],
)
async def test_a_server_of_other_versions_or_ciphers_than_chosen_is_not_spoken_to(
    tmp_path: Path, kind: Kind, own: str, spoken: ssl.TLSVersion
) -> None:
    def speak(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = spoken

    trusted = f"tls.ca_file {tmp_path}/localhost.pem"
    async with tls_server(tmp_path, "localhost", speak) as server:
        endpoint = f"https://localhost:{server.port}"
        async with calls_with(kind, endpoint, trusted) as calls:
            await calls.make()
        async with calls_with(kind, endpoint, f"{trusted}\n{own}") as calls:
            with pytest.raises(NoAnswer, match=r"TLS handshake failed|closed while it was made"):
                await calls.make()

    assert len(server.requests) == 1


@both
@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("tls.ca_path /nowhere", "tls.ca_path"),
        ("tls.crt_file /nowhere", "tls.crt_file"),
        ("tls.key_file /nowhere", "tls.key_file"),
        ("tls.min_version 9", "tls.min_version"),
        ("tls.ciphers nonsense", "tls.ciphers"),
    ],
)
async def test_what_cannot_be_used_is_told_at_start(kind: Kind, line: str, option: str) -> None:
    with pytest.raises(OptionError) as caught:
        async with calls_with(kind, "https://127.0.0.1:1", line):
            pass

    assert caught.value.option == option


@both
async def test_tls_options_do_not_matter_to_an_endpoint_without_tls(server: ByteServer, kind: Kind) -> None:
    lines = "tls.crt_file /nowhere\ntls.min_version 1.3\ntls.vhost other"
    async with calls_with(kind, f"http://127.0.0.1:{server.port}", lines) as calls:
        await calls.make()

    assert len(server.requests) == 1


@both
async def test_renewed_certificates_are_trusted_without_a_restart(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipper.net.tls._LOOK_EVERY_S", 0.0)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificate(tmp_path, "other")[0].read_bytes())
    async with (
        tls_server(tmp_path, "localhost", nothing) as server,
        calls_with(kind, f"https://localhost:{server.port}", f"tls.ca_file {trusted}") as calls,
    ):
        with pytest.raises(NoAnswer, match="certificate is not accepted"):
            await calls.make()
        trusted.write_bytes((tmp_path / "localhost.pem").read_bytes())
        await calls.make()

    assert len(server.requests) == 1


@both
async def test_connections_come_from_the_address_asked_for(kind: Kind) -> None:
    peers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        writer.transport.abort()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    async with calls_with(kind, endpoint, "net.source_address 127.0.0.9") as calls:
        with pytest.raises(NoAnswer):
            await calls.make()
    running.close()

    assert peers == ["127.0.0.9"]


@both
async def test_a_connection_serves_so_many_calls(server: ByteServer, kind: Kind) -> None:
    endpoint = f"http://127.0.0.1:{server.port}"
    async with calls_with(kind, endpoint, "net.keepalive_max_recycle 2") as calls:
        for _ in range(4):
            await calls.make()

    assert (len(server.requests), server.connections) == (4, 2)


@both
async def test_the_last_known_address_is_used_while_names_cannot_be_looked_up(
    server: ByteServer, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [[(None, None, None, "", ("127.0.0.1", server.port))]]

    async def resolve(host: str, port: int) -> list[Any]:
        if not answers:
            raise OSError("the resolver is away")
        return answers.pop()

    monkeypatch.setattr("shipper.net.names._system_resolve", resolve)
    monkeypatch.setattr("shipper.net.names.FRESH_S", 0.0)
    endpoint = f"http://logs.example:{server.port}"
    async with calls_with(kind, endpoint, "net.keepalive off") as calls:
        for _ in range(3):
            await calls.make()

    assert server.connections == 3


@both
async def test_calls_go_through_the_proxy_of_the_environment(
    server: ByteServer, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{server.port}")
    async with calls_with(kind, "http://far.example:8080") as calls:
        await calls.make()

    assert server.requests[0].split(b"\r\n")[0] in (
        b"POST http://far.example:8080/ HTTP/1.1",
        b"PUT http://far.example:8080/b/k HTTP/1.1",
    )
    assert b"\r\nHost: far.example:8080\r\n" in server.requests[0]
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in server.requests[0]


@both
@pytest.mark.parametrize("exempt", ["NO_PROXY", "net.proxy_env_ignore"])
async def test_endpoints_that_are_exempt_are_spoken_to_directly(
    server: ByteServer, kind: Kind, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    if exempt == "NO_PROXY":
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,127.0.0.0/8")
    more = "" if exempt == "NO_PROXY" else f"{exempt} on"
    async with calls_with(kind, f"http://127.0.0.1:{server.port}", more) as calls:
        await calls.make()

    assert len(server.requests) == 1
