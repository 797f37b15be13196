"""What all listening inputs share: where they listen, TLS, limits and deadlines."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.inputs.forward.input import ForwardInput
from shipper.inputs.http.input import HttpInput
from shipper.inputs.listening import Address, FileMode, PushInput, UnixPath, connection, streams
from shipper.inputs.listening.sockets import bind, is_reachable, shown_address
from shipper.inputs.tcp import TcpInput
from shipper.inputs.udp import UdpInput

from .running import PATIENCE_S, Running, connected, ended

LINE = b"line\n"
NONE = "format none"


async def test_without_an_address_ipv4_and_ipv6_are_listened_on() -> None:
    with bind(Address(None, 0), "stream") as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "::1") if server.family == socket.AF_INET6 else ("127.0.0.1",):
            with socket.create_connection((host, port), timeout=1) as client:
                assert client.getpeername()[1] == port


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_of_senders_are_shown_with_their_port(address: object, shown: str) -> None:
    assert shown_address(address) == shown


@pytest.mark.parametrize("plugin", [TcpInput, ForwardInput, UdpInput])
async def test_a_port_in_use_is_told_with_the_option_and_a_remedy(plugin: type[PushInput]) -> None:
    kind = socket.SOCK_DGRAM if plugin is UdpInput else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        running = Running(plugin, f"listen 127.0.0.1\nport {other.getsockname()[1]}")
        with pytest.raises(OptionError, match="already in use") as failure:
            await running.input.open()

        assert failure.value.option == "port"
        assert "another port" in failure.value.remedy


@pytest.mark.parametrize(
    ("place", "option"),
    [
        (Address("192.0.2.1", 0), "listen"),
        (Address("no such host.", 0), "listen"),
        (Address("127.0.0.1", 70_000), "port"),
        (UnixPath("/no/such/folder/s.sock", None, "unix_path"), "unix_path"),
        (UnixPath("/" + "x" * 200, None), "path"),
    ],
)
def test_a_place_where_nobody_can_listen_is_told_with_its_option(place: Address | UnixPath, option: str) -> None:
    with pytest.raises(OptionError) as failure:
        bind(place, "stream")

    assert failure.value.option == option
    assert failure.value.remedy


def test_a_socket_left_by_an_earlier_run_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path, file = tmp_path / "s.sock", tmp_path / "file"
    bind(UnixPath(str(path)), "stream").close()
    file.write_text("precious")
    bind(UnixPath(str(path)), "stream").close()

    with pytest.raises(OptionError, match="no socket"):
        bind(UnixPath(str(file)), "stream")
    assert file.read_text() == "precious"


@pytest.mark.parametrize("text", ["rw", "0888", "1777", ""])
def test_permissions_are_octal_digits(text: str) -> None:
    with pytest.raises(ValueError, match="octal"):
        FileMode.parse(text)


async def test_forward_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "f.sock"
    async with Running(ForwardInput, f"unix_path {path}\nunix_perm 0600") as forward:
        mode = os.stat(path).st_mode & 0o777
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"\x93\xa1t\x01\x81\xa1a\x01")

        assert await forward.until_records(1) == [{"a": 1}]
        assert mode == 0o600
        await ended(writer)


async def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.sock"
    async with Running(ForwardInput, f"unix_path {path}") as old:
        async with Running(ForwardInput, f"unix_path {path}") as new:
            await old.stop()
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"\x93\xa1t\x01\x81\xa1a\x01")

            assert await new.until_records(1) == [{"a": 1}]
            await ended(writer)

        assert not path.exists()


async def test_connections_beyond_the_limit_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Running(TcpInput, NONE) as tcp:
        monkeypatch.setattr(streams, "MOST_CONNECTIONS", 1)
        _, first = await connected(tcp.port)
        first.write(LINE)
        await tcp.until_records(1)
        reader, second = await connected(tcp.port)
        try:
            refused = await asyncio.wait_for(reader.read(), PATIENCE_S)
        except ConnectionResetError:
            refused = b""
        first.write(LINE)
        await tcp.until_records(2)
        await ended(first)
        await ended(second)
        await asyncio.sleep(0.01)
        await tcp.send(LINE)

        assert refused == b""
        assert tcp.refused("too_many_connections") == 1
        assert len(await tcp.until_records(3)) == 3


async def test_a_connection_that_brings_nothing_is_closed_after_the_io_timeout() -> None:
    async with Running(TcpInput, f"{NONE}\nnet.io_timeout 0.05") as tcp:
        reader, writer = await connected(tcp.port)

        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        assert tcp.refused("too_slow") == 1
        await ended(writer)


async def test_a_sender_that_does_not_take_its_answers_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_PATIENCE_S", 0.05)
    chunk = b"\x93\xa1t\x90\x81\xa5chunk\xda\xff\xff" + b"c" * 65_535
    async with Running(ForwardInput) as forward:
        _, writer = await connected(forward.port, limit=1024)
        for _ in range(300):
            writer.write(chunk)
        await forward.until(lambda: forward.refused("too_slow") == 1)

        assert forward.records == []
        writer.transport.abort()
        await ended(writer)


async def test_a_failure_in_serving_ends_its_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with Running(TcpInput, NONE) as tcp:
        _, good = await connected(tcp.port)
        good.write(LINE)
        await tcp.until_records(1)
        serve = tcp.input.listener._serve  # type: ignore[attr-defined]
        tcp.input.listener._serve = None  # type: ignore[attr-defined]
        await tcp.send_without_end(LINE)
        await tcp.until(lambda: tcp.refused("failed") == 1)
        tcp.input.listener._serve = serve  # type: ignore[attr-defined]
        good.write(LINE)
        await tcp.until_records(2)
        await ended(good)

        assert "TypeError" in caplog.text


async def test_records_that_cannot_be_handed_on_are_counted_and_others_come_through() -> None:
    async with Running(TcpInput, NONE) as tcp:
        tcp.failure = RuntimeError("a bug")
        await tcp.send(LINE + LINE)
        tcp.failure = None
        await tcp.send(LINE)

        assert await tcp.until_records(1) == [{"log": "line"}]
        assert (tcp.dropped("failed"), tcp.refused("failed")) == (2, 1)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), "-keyout", key, "-out", crt, *subject], check=True, capture_output=True)
    return crt, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    return {name: certificate(folder, name) for name in ("server", "renewed", "client")}


Certificates = dict[str, tuple[Path, Path]]


def trusting(*files: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(file)
    return context


async def test_records_come_over_tls(certificates: Certificates) -> None:
    crt, key = certificates["server"]
    async with Running(TcpInput, f"tls on\ntls.crt_file {crt}\ntls.key_file {key}\n{NONE}") as tcp:
        _, writer = await connected(tcp.port, ssl=trusting(crt))
        writer.write(LINE)

        assert await tcp.until_records(1) == [{"log": "line"}]
        await ended(writer)


async def test_a_renewed_certificate_is_used_for_the_next_connection(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipper.inputs.listening.server_tls._LOOK_EVERY_S", 0.0)
    crt, key = tmp_path / "crt", tmp_path / "key"
    names = []
    for source, target in zip(certificates["server"], (crt, key), strict=True):
        target.write_bytes(source.read_bytes())
    async with Running(TcpInput, f"tls on\ntls.crt_file {crt}\ntls.key_file {key}\n{NONE}") as tcp:
        context = trusting(certificates["server"][0], certificates["renewed"][0])
        for _ in range(2):
            _, writer = await connected(tcp.port, ssl=context)
            names.append(writer.get_extra_info("peercert")["subject"][0][0][1])
            await ended(writer)
            for source, target in zip(certificates["renewed"], (crt, key), strict=True):
                target.write_bytes(source.read_bytes())

        assert names == ["server", "renewed"]


async def test_only_senders_with_a_trusted_certificate_come_in_if_that_is_asked_for(certificates: Certificates) -> None:
    (crt, key), (ca, client_key) = certificates["server"], certificates["client"]
    lines = f"tls on\ntls.crt_file {crt}\ntls.key_file {key}\ntls.verify_client_cert on\ntls.ca_file {ca}\n{NONE}"
    async with Running(TcpInput, lines) as tcp:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            reader, writer = await connected(tcp.port, ssl=trusting(crt))
            writer.write(LINE)
            await reader.read()
            raise ConnectionError("closed")
        known = trusting(crt)
        known.load_cert_chain(ca, client_key)
        _, writer = await connected(tcp.port, ssl=known)
        writer.write(b"known\n")

        assert await tcp.until_records(1) == [{"log": "known"}]
        await ended(writer)


@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ("", "tls.crt_file"),
        ("tls.crt_file /nowhere", "tls.crt_file"),
        ("tls.crt_file {crt}", "tls.crt_file"),
        ("tls.crt_file {crt}\ntls.key_file {key}\ntls.verify_client_cert on", "tls.ca_file"),
        ("tls.crt_file {crt}\ntls.key_file {key}\ntls.verify_client_cert on\ntls.ca_file {key}", "tls.ca_file"),
        ("tls.crt_file {crt}\ntls.min_version 7", "tls.min_version"),
        ("tls.crt_file {crt}\ntls.key_file {key}\ntls.ciphers nonsense", "tls.ciphers"),
    ],
)
async def test_tls_options_that_cannot_be_used_are_named(certificates: Certificates, lines: str, option: str) -> None:
    crt, key = certificates["server"]
    written = lines.format(crt=crt, key=key)

    with pytest.raises(OptionError) as failure:
        await Running(TcpInput, f"tls on\n{written}".strip()).input.open()
    assert failure.value.option == option


def test_an_unknown_option_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'buffer_size'"):
        Running(TcpInput, "bufer_size 5")


def test_the_number_of_connections_is_bounded() -> None:
    assert 0 < streams.MOST_CONNECTIONS <= 10_000


OPEN = "nobody is asked who they are"


@pytest.mark.parametrize(
    ("plugin", "lines", "is_told"),
    [
        (TcpInput, "listen 0.0.0.0", True),
        (ForwardInput, "listen 0.0.0.0", True),
        (HttpInput, "listen 0.0.0.0", True),
        (UdpInput, "listen 0.0.0.0", True),
        (TcpInput, "listen 127.0.0.1", False),
        (HttpInput, "listen localhost", False),
        (UdpInput, "listen 127.0.0.1", False),
        (ForwardInput, "listen 0.0.0.0\nshared_key k", False),
        (ForwardInput, "listen 0.0.0.0\nempty_shared_key on", True),
        (ForwardInput, "listen 0.0.0.0\nempty_shared_key on\nsecurity.users me secret", False),
    ],
)
async def test_a_listener_that_lets_everybody_in_is_told_at_the_start(
    caplog: pytest.LogCaptureFixture, plugin: type[PushInput], lines: str, is_told: bool
) -> None:
    with caplog.at_level(logging.INFO, "shipper"):
        async with Running(plugin, f"{lines}\nport 0") as running:
            await running.until(lambda: "listening on" in caplog.text)

    assert (OPEN in caplog.text) is is_told


async def test_a_listener_without_an_address_is_open_and_a_unix_socket_is_not(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with bind(Address(None, 0), "stream") as server:
        assert is_reachable(server)
    with caplog.at_level(logging.INFO, "shipper"):
        async with Running(ForwardInput, f"unix_path {tmp_path}/f.sock") as running:
            await running.until(lambda: "listening on" in caplog.text)

    assert OPEN not in caplog.text


async def test_who_asks_for_certificates_is_not_told(
    caplog: pytest.LogCaptureFixture, certificates: Certificates
) -> None:
    (crt, key), (ca, _) = certificates["server"], certificates["client"]
    lines = f"tls on\ntls.crt_file {crt}\ntls.key_file {key}\ntls.verify_client_cert on\ntls.ca_file {ca}"
    with caplog.at_level(logging.INFO, "shipper"):
        async with Running(TcpInput, f"listen 0.0.0.0\nport 0\n{lines}") as running:
            await running.until(lambda: "listening on" in caplog.text)

    assert OPEN not in caplog.text


@pytest.mark.parametrize("plugin", [TcpInput, UdpInput, HttpInput, ForwardInput])
@pytest.mark.parametrize("lines", ["tls.verify_client_cert on", "tls on\ntls.verify_client_cert"])
def test_a_demand_for_certificates_without_effect_is_refused(plugin: type[PushInput], lines: str) -> None:
    with pytest.raises(ConfigError, match=r"tls\.verify_client_cert"):
        Running(plugin, lines)


async def test_datagrams_come_without_tls(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OptionError, match=r"tls\.verify_client_cert"):
        Running(UdpInput, "tls on\ntls.verify_client_cert on")
    with caplog.at_level(logging.INFO, "shipper"):
        async with Running(UdpInput, "tls on") as running:
            await running.until(lambda: "listening on" in caplog.text)

    assert "tls has no effect on datagrams" in caplog.text
