"""forward: the bytes of the reference, the handshake, acknowledgements, and what a broken connection costs."""

from __future__ import annotations

import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.clock import SystemClock
from shipper.errors import ConfigError, RetryLater
from shipper.outputs.forward.messages import MessageMaker
from shipper.outputs.forward.output import ForwardOptions, ForwardOutput
from shipper.record import Record
from shipper.testing import batch_of, context_of

from ...components.forward_server import Secure, forward_server
from ...written_options import options_from
from ..samples import F1, TAG, sample_batch

TAG_BYTES, TIME = "a86d792f7461673a78", "d7006553f1001dcd6500"
ACKED = "require_ack_response on"


def certificate(folder: Path) -> tuple[Path, Path]:
    crt, key = folder / "c.pem", folder / "k.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", *names, "-keyout", str(key), "-out", str(crt)),
        ],
        check=True,
        capture_output=True,
    )
    return crt, key


@asynccontextmanager
async def output_to(port: int, lines: str = "") -> AsyncIterator[ForwardOutput]:
    options = options_from(ForwardOptions, f"host 127.0.0.1\nport {port}\n{lines}", "output")
    output = ForwardOutput(options, context_of("output", "forward.0", SystemClock()))
    await output.open()
    try:
        yield output
    finally:
        await output.close()


def parcel_data(lines: str, *records: Record) -> bytes:
    maker = MessageMaker(options_from(ForwardOptions, lines or "match *", "output").message_form())
    return b"".join(parcel.data for parcel in maker.parcels([sample_batch(*records)]))


def text(value: str) -> str:
    return (bytes([0xA0 | len(value)]) + value.encode()).hex()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", f"92 {TAG_BYTES} 91 92 92{TIME}80 81a16ba176"),
        ("retain_metadata_in_forward_mode off", f"92 {TAG_BYTES} 91 92{TIME} 81a16ba176"),
        ("time_as_integer on", f"92 {TAG_BYTES} 91 92ce6553f100 81a16ba176"),
        (
            "send_options on\nretain_metadata_in_forward_mode off",
            f"93 {TAG_BYTES} 91 92{TIME} 81a16ba176 82 {text('size')}01 {text('fluent_signal')}00",
        ),
        (
            "send_options on\nadd_option a b c\nadd_option d e",
            f"93 {TAG_BYTES} 91 92 92{TIME}80 81a16ba176 "
            f"84 {text('size')}01 {text('fluent_signal')}00 {text('a')}{text('b c')} {text('d')}{text('e')}",
        ),
        ("tag new.$k", f"94 {text('new.v')} {TIME} 81a16ba176 81 {text('fluent_signal')}00"),
        ("tag new.$TAG", f"92 {text('new.my/tag:x')} 91 92 92{TIME}80 81a16ba176"),
    ],
)
def test_a_message_has_the_bytes_of_the_reference(lines: str, expected: str) -> None:
    assert parcel_data(lines, F1) == bytes.fromhex(expected)


def test_a_message_that_wants_an_acknowledgement_has_an_id_of_its_content() -> None:
    data = parcel_data(ACKED, F1)
    options = msgspec.msgpack.decode(b"\x83" + data.partition(b"\x81\xa1k\xa1v\x83")[2])

    assert list(options) == ["chunk", "size", "fluent_signal"]
    assert len(options["chunk"]) == 24
    assert data == parcel_data(ACKED, F1) != parcel_data(ACKED, Record(F1.time_ns + 1, F1.body))


def test_a_compressed_message_holds_packed_entries() -> None:
    tag, packed, options = msgspec.msgpack.decode(parcel_data("compress gzip", F1, F1))

    assert tag == TAG
    assert gzip.decompress(packed) == bytes.fromhex(f"9292{TIME}80 81a16ba176") * 2
    assert list(options.items()) == [("size", 2), ("compressed", "gzip"), ("fluent_signal", 0)]


async def test_records_of_each_tag_arrive_in_their_order() -> None:
    delivery = Delivery("", [batch_of("1", "2", tag="a"), batch_of("3", tag="b"), batch_of("4", tag="a")])
    async with forward_server() as server, output_to(server.port) as output:
        await output.send(delivery)
        await server.wait_for(2)

        assert server.records == [("a", {"log": "1"}), ("a", {"log": "2"}), ("a", {"log": "4"}), ("b", {"log": "3"})]
        assert delivery.accepted == 4


async def test_metadata_arrive() -> None:
    records = [Record(F1.time_ns, {"k": "v"}, {"m": 1}), F1]
    async with forward_server() as server, output_to(server.port) as output:
        await output.send(Delivery("", [sample_batch(*records)]))
        await server.wait_for(1)

        assert [entry[0] for entry in server.messages[0][1]] == [[F1.time_ns, {"m": 1}], [F1.time_ns, {}]]


@pytest.mark.parametrize("more", ["", "compress gzip", "tag x.$log"])
async def test_a_delivery_ends_when_everything_is_acknowledged(more: str) -> None:
    async with forward_server() as server, output_to(server.port, f"{ACKED}\n{more}") as output:
        for number in range(3):
            await output.send(Delivery("", [batch_of(f"{number}a", f"{number}b")]))

        assert [body["log"] for _, body in server.records] == ["0a", "0b", "1a", "1b", "2a", "2b"]
        assert server.connections == 1


@pytest.mark.parametrize("step", ["cut", "wrong"])
async def test_what_is_not_acknowledged_is_sent_again_with_the_same_id(step: str) -> None:
    delivery = Delivery("", [batch_of("1", tag="a"), batch_of("2", tag="b")])
    async with forward_server() as server, output_to(server.port, ACKED) as output:
        server.script = [None, step]
        with pytest.raises(RetryLater):
            await output.send(delivery)
        accepted = delivery.accepted
        await output.send(delivery)

        chunks = [options["chunk"] for _, _, options in server.messages]
        assert (accepted, delivery.accepted) == (1, 2)
        assert [tag for tag, _, _ in server.messages] == (["a", "b"] if step == "cut" else ["a", "b", "b"])
        assert len(set(chunks)) == 2


async def test_a_receiver_that_is_silent_is_given_up() -> None:
    async with forward_server() as server, output_to(server.port, f"{ACKED}\nnet.io_timeout 0.05s") as output:
        server.script = ["silent"]
        with pytest.raises(RetryLater, match="no end within"):
            await output.send(Delivery("", [batch_of("1")]))


async def test_nobody_listening_is_told_with_the_address() -> None:
    async with output_to(1) as output:
        with pytest.raises(RetryLater, match=r"127\.0\.0\.1:1"):
            await output.send(Delivery("", [batch_of("1")]))


SECURE = Secure("key", "user", "pass")


@pytest.mark.parametrize(
    ("secure", "lines"),
    [
        (SECURE, "shared_key key\nusername user\npassword pass\nself_hostname me"),
        (Secure("key"), "shared_key key"),
        (Secure(""), "empty_shared_key on"),
        (Secure("", "user", "pass"), "username user\npassword pass"),
        (Secure("key", keepalive=False), "shared_key key"),
    ],
)
async def test_both_sides_prove_that_they_know_the_key(secure: Secure, lines: str) -> None:
    async with forward_server(secure) as server, output_to(server.port, f"{ACKED}\n{lines}") as output:
        await output.send(Delivery("", [batch_of("1")]))
        await output.send(Delivery("", [batch_of("2")]))

        assert [body["log"] for _, body in server.records] == ["1", "2"]
        assert server.connections == (1 if secure.keepalive else 2)


@pytest.mark.parametrize(
    ("secure", "lines", "why"),
    [
        (SECURE, "shared_key other", "does not let us in: wrong key"),
        (SECURE, "shared_key key\nusername user\npassword other", "wrong key"),
        (Secure("key", liar=True), "shared_key key", "does not know the shared key"),
    ],
)
async def test_records_are_held_when_the_handshake_fails(secure: Secure, lines: str, why: str) -> None:
    async with forward_server(secure) as server, output_to(server.port, lines) as output:
        with pytest.raises(RetryLater, match=why):
            await output.send(Delivery("", [batch_of("1")]))

        assert server.messages == []


async def test_a_socket_of_this_machine_is_spoken_to(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with forward_server(unix_path=path) as server, output_to(1, f"{ACKED}\nunix_path {path}") as output:
        await output.send(Delivery("", [batch_of("1")]))

        assert server.records == [("test", {"log": "1"})]


async def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    async with forward_server(tls=context) as server:
        async with output_to(server.port, f"{ACKED}\ntls on\ntls.ca_file {crt}") as output:
            await output.send(Delivery("", [batch_of("1")]))
        async with output_to(server.port, f"{ACKED}\ntls on") as output:
            with pytest.raises(RetryLater, match="TLS handshake failed"):
                await output.send(Delivery("", [batch_of("2")]))

        assert server.records == [("test", {"log": "1"})]


async def test_receivers_of_the_upstream_file_take_turns_and_have_keys_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "nodes.conf"
    async with forward_server(Secure("one")) as one, forward_server(Secure("two")) as two:
        nodes = [
            f"[NODE]\n name {key}\n host 127.0.0.1\n port {server.port}\n shared_key {key}\n"
            for key, server in (("one", one), ("two", two))
        ]
        path.write_text("[UPSTREAM]\n name u\n" + "".join(nodes))
        async with output_to(1, f"{ACKED}\nupstream {path}") as output:
            for number in range(4):
                await output.send(Delivery("", [batch_of(str(number))]))

        assert [[body["log"] for _, body in s.records] for s in (one, two)] == [["0", "2"], ["1", "3"]]


async def test_many_records_become_several_parcels_when_each_has_its_tag() -> None:
    delivery = Delivery("", [batch_of(*map(str, range(1200)))])
    async with forward_server() as server, output_to(server.port, f"{ACKED}\ntag t.$log") as output:
        await output.send(delivery)

        assert [(tag, body["log"]) for tag, body in server.records] == [(f"t.{n}", str(n)) for n in range(1200)]
        assert delivery.accepted == 1200


@pytest.mark.parametrize("lines", ["add_option x", "compress lz4", "tag $a[", "time_as_integer maybe"])
def test_options_that_cannot_be_used_are_refused(lines: str) -> None:
    with pytest.raises(ConfigError, match=lines.split()[0]):
        options_from(ForwardOptions, lines, "output")


def test_values_are_whatever_messagepack_can_hold() -> None:
    body: dict[str, Any] = {"a": [1, 2.5, None, True, {"b": b"\xff"}], "k": msgspec.Raw(b'{"p":1}')}
    _, entries = msgspec.msgpack.decode(
        parcel_data("time_as_integer on", Record(F1.time_ns, body)), type=tuple[str, list[Any]]
    )

    assert entries == [[1_700_000_000, {"a": [1, 2.5, None, True, {"b": b"\xff"}], "k": {"p": 1}}]]
