"""The client against a server on loopback: what it sends, what it keeps, and how it fails."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import SystemClock
from shipper.log import Log
from shipper.net.http import HttpClient
from shipper.net.settings import ConnectionCount, HttpSettings, NoAnswer, TlsSettings

from .server import CUT, HANG, ByteServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Opened = Callable[..., Awaitable[HttpClient]]


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    found = ByteServer()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    clients: list[HttpClient] = []

    async def new(port: int, variables: dict[str, str] | None = None, **more: Any) -> HttpClient:
        settings = HttpSettings(**{"host": "127.0.0.1", "port": port, **more})
        client = HttpClient(settings, SystemClock(), Log("[test] "), variables or {})
        await client.open()
        clients.append(client)
        return client

    yield new
    for client in clients:
        await client.close()
    await asyncio.sleep(0.01)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    crt, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(crt)),
        ],
        check=True,
        capture_output=True,
    )
    return crt, key


def server_context(crt: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


async def test_a_request_is_one_head_and_one_body(server: ByteServer, opened: Opened) -> None:
    server.answers = [OK]
    client = await opened(server.port)
    answer = await client.request("POST", "/push", {"Content-Type": "text/plain"}, b"body")

    assert (answer.status, answer.body) == (200, b"ok")
    assert server.requests == [
        f"POST /push HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 4\r\n".encode()
        + b"Content-Type: text/plain\r\n\r\nbody"
    ]


async def test_a_connection_serves_many_requests(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port)
    for _ in range(5):
        await client.request("POST", "/", {}, b"x" * 2_000_000)

    assert (server.connections, len(server.requests)) == (1, 5)


async def test_connections_are_told_while_in_use_and_at_rest(server: ByteServer, opened: Opened) -> None:
    server.answers = [OK, HANG]
    client = await opened(server.port, keepalive=True)
    first = client.connections
    await client.request("GET", "/1")
    rested = client.connections
    server.has_request.clear()
    task = asyncio.create_task(client.request("GET", "/2"))
    await server.has_request.wait()
    in_use = client.connections
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (first, rested, in_use) == (ConnectionCount(0, 0), ConnectionCount(1, 0), ConnectionCount(1, 1))
    assert client.connections == ConnectionCount(0, 0)


async def test_without_keepalive_each_request_has_its_connection(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port, keepalive=False)
    for _ in range(3):
        await client.request("GET", "/")

    assert server.connections == 3
    assert b"Connection: close" in server.requests[0]


async def test_a_connection_that_rested_too_long_is_not_used(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port, idle_timeout=0.0)
    await client.request("GET", "/")
    await asyncio.sleep(0.002)
    await client.request("GET", "/")

    assert server.connections == 2


async def test_no_more_connections_than_allowed(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port, connections=2)
    await asyncio.gather(*[client.request("GET", f"/{n}") for n in range(8)])

    assert (server.connections, len(server.requests)) == (2, 8)


async def test_a_kept_connection_that_is_cut_costs_nothing(server: ByteServer, opened: Opened) -> None:
    server.answers = [OK, CUT, OK]
    client = await opened(server.port)
    await client.request("GET", "/")
    answer = await client.request("GET", "/")

    assert answer.status == 200
    assert server.connections == 2


async def test_a_new_connection_that_is_cut_is_no_answer(server: ByteServer, opened: Opened) -> None:
    server.answers = [CUT]
    client = await opened(server.port)
    with pytest.raises(NoAnswer, match="ended before the answer") as failure:
        await client.request("GET", "/")

    assert failure.value.phase == "answer"


async def test_a_server_that_hangs_is_given_up(server: ByteServer, opened: Opened) -> None:
    server.answers = [HANG]
    client = await opened(server.port, io_timeout=0.05)
    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 seconds") as failure:
        await client.request("GET", "/")

    assert failure.value.timed_out


async def test_a_request_that_is_cancelled_leaves_no_connection_behind(server: ByteServer, opened: Opened) -> None:
    server.answers = [HANG, OK]
    client = await opened(server.port)
    task = asyncio.create_task(client.request("GET", "/1"))
    await server.has_request.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await client.request("GET", "/2")

    assert (answer.body, server.connections) == (b"ok", 2)


async def test_nobody_listening_is_told_with_the_address(opened: Opened) -> None:
    closed = ByteServer()
    await closed.start()
    await closed.stop()
    client = await opened(closed.port)
    with pytest.raises(NoAnswer, match=f"127.0.0.1:{closed.port}") as failure:
        await client.request("GET", "/")

    assert failure.value.phase == "connect"


async def test_a_name_that_does_not_exist_fails_in_the_phase_of_names(opened: Opened) -> None:
    client = await opened(1, host="nowhere.invalid")
    with pytest.raises(NoAnswer, match=r"nowhere\.invalid") as failure:
        await client.request("GET", "/")

    assert failure.value.phase == "dns"


async def test_ipv6_addresses_are_spoken_to(opened: Opened) -> None:
    server = ByteServer(host="::1")
    try:
        await server.start()
    except OSError:
        pytest.skip("there is no IPv6 here")
    client = await opened(server.port, host="::1")
    await client.request("GET", "/")
    await server.stop()

    assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]


async def test_connections_come_from_the_source_address(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port, source_address="127.0.0.2")
    answer = await client.request("GET", "/")

    assert answer.status == 204


async def test_a_header_with_a_line_break_is_never_sent(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port)
    with pytest.raises(ValueError, match="line break"):
        await client.request("GET", "/", {"X": "a\r\nY: b"})

    assert server.requests == []


async def test_certificates_are_checked_and_the_reason_is_told(tmp_path: Path, opened: Opened) -> None:
    crt, key = certificate(tmp_path, "localhost")
    server = ByteServer()
    await server.start(server_context(crt, key))
    strict = await opened(server.port, tls=TlsSettings())
    trusting = await opened(server.port, tls=TlsSettings(ca_file=str(crt)))
    careless = await opened(server.port, tls=TlsSettings(verify=False))
    with pytest.raises(NoAnswer, match="self-signed certificate") as failure:
        await strict.request("GET", "/")
    answers = [await trusting.request("GET", "/"), await careless.request("GET", "/")]
    await server.stop()

    assert failure.value.phase == "tls"
    assert [a.status for a in answers] == [204, 204]


async def test_the_name_is_checked_only_if_asked_for(tmp_path: Path, opened: Opened) -> None:
    crt, key = certificate(tmp_path, "other")
    server = ByteServer()
    await server.start(server_context(crt, key))
    checking = await opened(server.port, tls=TlsSettings(ca_file=str(crt), verify_hostname=True))
    named = await opened(server.port, tls=TlsSettings(ca_file=str(crt), verify_hostname=True, vhost="other"))
    with pytest.raises(NoAnswer, match="not valid for"):
        await checking.request("GET", "/")
    answer = await named.request("GET", "/")
    await server.stop()

    assert answer.status == 204


async def test_requests_go_through_a_proxy(server: ByteServer, opened: Opened) -> None:
    proxy = {"HTTP_PROXY": f"http://me:se%3Dcret@127.0.0.1:{server.port}"}
    client = await opened(3100, proxy, host="loki.example")
    await client.request("GET", "/push")

    assert server.requests[0].startswith(b"GET http://loki.example:3100/push HTTP/1.1\r\nHost: loki.example:3100\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2U9Y3JldA==\r\n" in server.requests[0]


async def test_tls_goes_through_a_tunnel_that_the_proxy_may_refuse(server: ByteServer, opened: Opened) -> None:
    server.answers = [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]
    client = await opened(443, {"HTTPS_PROXY": f"127.0.0.1:{server.port}"}, host="loki.example", tls=TlsSettings())
    with pytest.raises(NoAnswer, match="answered 403") as failure:
        await client.request("GET", "/")

    assert failure.value.phase == "proxy"
    assert server.requests[0].startswith(b"CONNECT loki.example:443 HTTP/1.1\r\n")


async def test_tls_through_a_tunnel(tmp_path: Path, opened: Opened) -> None:
    crt, key = certificate(tmp_path, "localhost")
    server = ByteServer()
    await server.start(server_context(crt, key))

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    variables = {"https_proxy": f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"}
    client = await opened(server.port, variables, host="localhost", tls=TlsSettings(ca_file=str(crt)))
    answer = await client.request("GET", "/")
    await client.close()
    await server.stop()
    proxy.close()

    assert answer.status == 204


async def test_a_client_may_leave_it_to_its_caller_to_send_again(server: ByteServer, opened: Opened) -> None:
    server.answers = [OK, CUT, OK]
    client = await opened(server.port, resend=False)
    await client.request("POST", "/a")

    with pytest.raises(NoAnswer):
        await client.request("POST", "/b")
    assert len(server.requests) == 2


async def test_a_proxy_of_the_settings_wins_over_the_environment(server: ByteServer, opened: Opened) -> None:
    client = await opened(
        80, {"HTTP_PROXY": "http://127.0.0.1:1"}, host="example.test", proxy=f"http://u:p@127.0.0.1:{server.port}"
    )
    await client.request("GET", "/a")

    assert server.requests[0].startswith(b"GET http://example.test/a HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in server.requests[0]


async def test_a_header_for_the_host_stands_in_place_of_ours(server: ByteServer, opened: Opened) -> None:
    client = await opened(server.port)
    await client.request("GET", "/", {"host": "other"})

    assert server.requests[0] == b"GET / HTTP/1.1\r\nhost: other\r\n\r\n"
