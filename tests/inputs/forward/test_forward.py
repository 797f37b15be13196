"""forward: acknowledgements, the handshake, limits, and whose connection ends."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import pytest

from shipper.codecs.msgpack_stream import ValueReader
from shipper.errors import ConfigError
from shipper.inputs.forward import input as forward_input
from shipper.inputs.forward.input import ForwardInput

from ..listening.running import PATIENCE_S, Running, connected, ended

pack = msgspec.msgpack.encode
KEY = "shared_key secret"
USER = f"{KEY}\nsecurity.users joe pass word\nsecurity.users ann x"


def message(number: int, chunk: str | None = None, tag: str = "t") -> bytes:
    return pack([tag, [[1, {"n": number}]], {"chunk": chunk} if chunk is not None else {}])


class Client:
    """A sender that reads what it is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._values = ValueReader()
        self._found: list[Any] = []

    async def next(self) -> Any:
        """The next value; None at the end."""
        while not self._found:
            data = await asyncio.wait_for(self.reader.read(65_536), PATIENCE_S)
            if not data:
                return None
            self._found = self._values.feed(data)
        return self._found.pop(0)

    async def is_silent(self) -> bool:
        """Whether nothing comes for a moment."""
        try:
            return not self._found and not await asyncio.wait_for(self.reader.read(65_536), 0.05)
        except TimeoutError:
            return True


async def client(forward: Running) -> Client:
    return Client(*await connected(forward.port))


@pytest.mark.parametrize(
    ("lines", "tag"),
    [("", "app"), ("tag mine", "mine"), ("tag_prefix got.", "got.app"), ("tag mine\ntag_prefix got.", "got.app")],
)
async def test_the_tag_is_that_of_the_message_unless_the_input_has_one(lines: str, tag: str) -> None:
    async with Running(ForwardInput, lines) as forward:
        await forward.send(message(1, tag="app"))
        await forward.until_records(1)

        assert forward.batches[0].tag == tag


async def test_small_messages_of_one_tag_that_come_together_are_one_batch() -> None:
    async with Running(ForwardInput) as forward:
        await forward.send(b"".join(message(n) for n in range(100)) + message(100, tag="other") + message(101))
        await forward.until_records(102)

        assert [(b.tag, len(b)) for b in forward.batches] == [("t", 100), ("other", 1), ("t", 1)]
        assert [body["n"] for body in forward.bodies] == list(range(102))


async def test_a_chunk_is_acknowledged_when_it_is_safe_and_not_before() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        sender = await client(forward)
        sender.writer.write(message(1, "one") + message(2, "two"))
        await forward.until_records(2)
        was_silent = await sender.is_silent()
        forward.batches[1].receipt.settle()
        first = await sender.next()
        forward.batches[0].receipt.settle()

        assert was_silent
        assert (first, await sender.next()) == ({b"ack": b"two"}, {b"ack": b"one"})
        await ended(sender.writer)


async def test_a_chunk_without_records_is_acknowledged_at_once() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        sender = await client(forward)
        sender.writer.write(pack(["t", [], {"chunk": "c"}]))

        assert await sender.next() == {b"ack": b"c"}
        await ended(sender.writer)


async def test_a_chunk_that_is_sent_again_before_it_is_safe_is_taken_once_and_acknowledged_to_both() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        first, second = await client(forward), await client(forward)
        first.writer.write(message(1, "c"))
        await forward.until_records(1)
        second.writer.write(message(1, "c"))
        await forward.until(lambda: forward.context.metrics.total("input_repeated_records_total") == 1)
        forward.settle()

        assert (await first.next(), await second.next()) == ({b"ack": b"c"}, {b"ack": b"c"})
        assert len(forward.records) == 1
        await ended(first.writer)
        await ended(second.writer)


async def test_the_same_id_with_other_records_is_another_chunk() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        await forward.send_without_end(message(1, "c"), message(2, "c"))

        assert await forward.until_records(2) == [{"n": 1}, {"n": 2}]


async def test_a_sender_with_too_much_unacknowledged_is_not_read_until_some_is_safe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward_input, "MOST_OWED", 3)
    async with Running(ForwardInput, settling="later") as forward:
        sender = await client(forward)
        sender.writer.write(b"".join(message(n, str(n)) for n in range(10)))
        await forward.until_records(3)
        await asyncio.sleep(0.02)
        taken = len(forward.records)
        for _ in range(10):
            forward.settle()
            await asyncio.sleep(0.01)

        assert taken == 3
        assert len(await forward.until_records(10)) == 10
        await ended(sender.writer)


async def test_a_chunk_that_becomes_safe_after_the_stop_is_still_acknowledged() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        sender = await client(forward)
        sender.writer.write(message(1, "c"))
        await forward.until_records(1)
        await forward.stop()
        forward.settle()

        assert await sender.next() == {b"ack": b"c"}
        await ended(sender.writer)


async def test_a_sender_that_has_said_everything_still_gets_its_answers() -> None:
    async with Running(ForwardInput, settling="later") as forward:
        sender = await client(forward)
        sender.writer.write(message(1, "c"))
        sender.writer.write_eof()
        await forward.until_records(1)
        await asyncio.sleep(0.02)
        forward.settle()

        assert (await sender.next(), await sender.next()) == ({b"ack": b"c"}, None)
        await ended(sender.writer)


async def test_malformed_data_end_their_connection_and_nothing_else() -> None:
    async with Running(ForwardInput) as forward:
        bystander = await client(forward)
        bystander.writer.write(message(1, "a"))
        first = await bystander.next()
        sender = await client(forward)
        sender.writer.write(message(2) + b"GET / HTTP/1.1\r\n\r\n")
        cut = await sender.next()
        bystander.writer.write(message(3, "b"))

        assert (first, cut, await bystander.next()) == ({b"ack": b"a"}, None, {b"ack": b"b"})
        assert [body["n"] for body in forward.bodies] == [1, 2, 3]
        assert (forward.refused("malformed"), forward.dropped("malformed")) == (1, 1)
        await ended(sender.writer)
        await ended(bystander.writer)


async def test_a_message_that_is_too_long_ends_its_connection() -> None:
    async with Running(ForwardInput, "buffer_max_size 1k") as forward:
        sender = await client(forward)
        sender.writer.write(pack(["t", b"x" * 2000]))

        assert await sender.next() is None
        assert forward.refused("too_long") == 1
        await ended(sender.writer)


async def test_metrics_are_counted_and_acknowledged() -> None:
    async with Running(ForwardInput) as forward:
        sender = await client(forward)
        sender.writer.write(pack(["t", b"metrics", {"fluent_signal": 1, "chunk": "c"}]))

        assert await sender.next() == {b"ack": b"c"}
        assert forward.dropped("not_logs") == 1
        await ended(sender.writer)


def digest(*parts: bytes | str) -> str:
    return hashlib.sha512(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()


async def shaken(sender: Client, key: str, user: str = "", password: str = "") -> list[Any]:
    """The PONG to a handshake with these credentials."""
    name, helo = await sender.next()
    nonce, auth = helo[b"nonce"], helo[b"auth"]
    assert (name, len(nonce), len(auth)) == (b"HELO", 16, 16)
    salt = b"\xffsalt"
    proof, user_proof = digest(salt, "me", nonce, key), digest(auth, user, password) if user else ""
    sender.writer.write(pack(["PING", "me", salt, proof, user, user_proof]))
    pong = await sender.next()
    if pong[1]:
        assert pong[4].decode() == digest(salt, "localhost", nonce, key)
    return list(pong[:3])


@pytest.mark.parametrize(
    ("lines", "credentials", "reason"),
    [
        (KEY, ("secret",), b""),
        (KEY, ("other",), b"shared_key mismatch"),
        (KEY, ("",), b"shared_key mismatch"),
        ("empty_shared_key on", ("",), b""),
        ("empty_shared_key on", ("x",), b"shared_key mismatch"),
        (USER, ("secret", "joe", "pass word"), b""),
        (USER, ("secret", "ann", "x"), b""),
        (USER, ("secret", "ann", "y"), b"username/password mismatch"),
        (USER, ("secret", "eve", ""), b"username/password mismatch"),
        (USER, ("secret",), b"username/password mismatch"),
        (USER, ("other", "joe", "pass word"), b"shared_key mismatch"),
    ],
)
async def test_the_handshake_lets_in_who_proves_to_know_key_and_password(
    lines: str, credentials: tuple[str, ...], reason: bytes
) -> None:
    async with Running(ForwardInput, lines) as forward:
        sender = await client(forward)
        pong = await shaken(sender, *credentials)
        sender.writer.write(message(1, "c"))
        answer = await sender.next()

        assert pong == [b"PONG", not reason, reason]
        assert answer == (None if reason else {b"ack": b"c"})
        assert len(forward.records) == (0 if reason else 1)
        await ended(sender.writer)


async def test_nobody_comes_in_without_a_handshake() -> None:
    async with Running(ForwardInput, KEY) as forward:
        sender = await client(forward)
        sender.writer.write(message(1, "c"))

        assert (await sender.next())[0] == b"HELO"
        assert await sender.next() is None
        assert forward.records == []
        await ended(sender.writer)


async def test_a_sender_that_does_not_finish_the_handshake_is_closed() -> None:
    async with Running(ForwardInput, f"{KEY}\nnet.accept_timeout 0.05") as forward:
        sender = await client(forward)
        await sender.next()

        assert await sender.next() is None
        assert forward.refused("too_slow") == 1
        await ended(sender.writer)


def test_users_without_a_shared_key_are_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="nobody would be asked for a password"):
        Running(ForwardInput, "security.users joe pass")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("shared_key", "option 'shared_key' is empty"),
        ("shared_key\nempty_shared_key off", "option 'shared_key' is empty"),
        ("shared_key\nsecurity.users joe pass", "option 'shared_key' is empty"),
        ("empty_shared_key", "option 'empty_shared_key'"),
        (f"{KEY}\nsecurity.users", "option 'security.users': expected a user and a password"),
        (f"{USER}\nsecurity.users", "option 'security.users': expected a user and a password"),
    ],
)
def test_a_key_or_users_that_are_written_and_empty_are_refused_at_the_start(lines: str, told: str) -> None:
    with pytest.raises(ConfigError) as failure:
        Running(ForwardInput, lines)

    assert told in str(failure.value)
    assert "pass" not in str(failure.value).replace("password", "")


async def test_an_empty_key_is_one_if_that_is_said() -> None:
    async with Running(ForwardInput, "shared_key\nempty_shared_key on") as forward:
        sender = await client(forward)

        assert (await shaken(sender, ""))[1]
        await ended(sender.writer)


@pytest.mark.parametrize(
    ("told", "tag"),
    [
        ("", "forward.0"),
        ("a\nb", "a_b"),
        ("a\0b", "a_b"),
        ("\x1b[31ma\r\n[0.0, {}]", "_[31ma__[0.0, {}]"),
        ("a\u2028b\u202e\x85", "a_b__"),
        ("app é 1/ü", "app é 1/ü"),
    ],
)
async def test_a_tag_that_cannot_be_shown_as_it_is_told_is_mended_and_counted(told: str, tag: str) -> None:
    async with Running(ForwardInput, "tag_prefix net.") as prefixed, Running(ForwardInput) as forward:
        for running in (forward, prefixed):
            await running.send(message(1, tag=told), message(2, "c", tag=told))
            await running.until_records(2)

        assert [batch.tag for batch in forward.batches] == [tag] * 2
        assert [batch.tag for batch in prefixed.batches] == [f"net.{tag}"] * 2
        assert forward.context.metrics.total("input_mended_tags_total") == (0 if tag == told else 2)


@pytest.mark.parametrize(
    "entry", [b"\x92\x01\x81\xa1k\x81\x81\xa1a\x01\x01", b"\x92\x01\x81\xa1k" + b"\x91" * 5000 + b"\xc0"]
)
async def test_a_message_that_cannot_be_decoded_ends_its_connection_and_no_other(entry: bytes) -> None:
    no_text = b"\x92\x01\x81\xa1k\xa1\xff"
    async with Running(ForwardInput) as forward:
        _, good = await connected(forward.port)
        good.write(message(1))
        await forward.until_records(1)
        await forward.send(pack(["t", no_text + entry]))
        good.write(message(2))

        assert await forward.until_records(2) == [{"n": 1}, {"n": 2}]
        assert forward.refused("malformed") == 1
        await ended(good)


async def test_records_that_are_nested_too_deeply_are_counted_and_the_chunk_is_acknowledged() -> None:
    body: Any = 1
    for _ in range(450):
        body = {"a": body}
    async with Running(ForwardInput) as forward:
        sender = await client(forward)
        sender.writer.write(pack(["t", [[1, body], [1, {"n": 1}]], {"chunk": "c"}]))

        assert await sender.next() == {b"ack": b"c"}
        assert forward.bodies == [{"n": 1}]
        assert forward.dropped("nested_too_deeply") == 1
        await ended(sender.writer)
