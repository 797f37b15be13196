"""syslog: every kind of socket, every form of message."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from shipper.errors import OptionError
from shipper.inputs.syslog.input import SyslogInput
from shipper.parsers.base import Parser
from shipper.parsers.onigmo import Regex
from shipper.parsers.record_time import RecordTime
from shipper.parsers.regex import RegexParser
from shipper.parsers.time_format import TimeFormat

from ..listening.running import Running

RFC3164 = r"^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$"  # noqa: E501
RFC5424 = r"^\<(?<pri>[0-9]{1,5})\>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) (?<msgid>[^ ]+) (?<extradata>(\[(.*?)\]|-)) (?<message>.+)$"  # noqa: E501
LOCAL = r"^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$"  # noqa: E501
HELLO = b"<34>Oct 11 22:14:15 host su[12]: hello"
NEW = b'<165>1 2023-10-11T22:14:15.003Z host app 42 ID47 [ex@1 k="v"] '


def parsers() -> dict[str, Parser]:
    iso = RecordTime(TimeFormat("%Y-%m-%dT%H:%M:%S.%L%z"), "time", keep=True)
    return {
        "syslog-rfc3164": RegexParser("syslog-rfc3164", Regex.parse(RFC3164)),
        "syslog-rfc5424": RegexParser("syslog-rfc5424", Regex.parse(RFC5424), time=iso),
        "syslog-rfc3164-local": RegexParser("syslog-rfc3164-local", Regex.parse(LOCAL)),
    }


def running(lines: str) -> Running:
    return Running(SyslogInput, lines, parsers=parsers())


async def test_raw_message_and_source_come_last() -> None:
    async with running("mode tcp\nparser syslog-rfc3164\nraw_message_key raw\nsource_address_key sa") as syslog:
        await syslog.send(HELLO + b"\n")
        (body,) = await syslog.until_records(1)

        source = body.pop("sa")
        assert source.startswith("tcp://127.0.0.1:")
        assert list(body.items()) == [
            ("pri", "34"),
            ("time", "Oct 11 22:14:15"),
            ("host", "host"),
            ("ident", "su"),
            ("pid", "12"),
            ("message", "hello"),
            ("raw", HELLO.decode()),
        ]


async def test_messages_that_do_not_fit_the_parser_are_dropped_and_counted() -> None:
    async with running("mode tcp\nparser syslog-rfc3164") as syslog:
        await syslog.send(HELLO + b"\nno syslog\n" + HELLO + b"\nrest")
        await syslog.until_records(2)

        assert syslog.dropped("parser_mismatch") == 1
        assert syslog.dropped("unterminated") == 1


async def test_counted_messages_may_hold_line_feeds() -> None:
    message = NEW + b"multi\nline"
    async with running("mode tcp\nformat octet_counting") as syslog:
        await syslog.send(b"%d %b" % (len(message), message))
        (body,) = await syslog.until_records(1)

        assert body["message"] == "multi"
        assert syslog.records[0].time_ns == 1_697_062_455_003_000_000


async def test_a_frame_without_a_length_ends_its_connection_only() -> None:
    async with running("mode tcp\nformat octet_counting") as syslog:
        await syslog.send(b"nonsense")
        await syslog.send(b"%d %b" % (len(NEW) + 2, NEW + b"ok"))
        (body,) = await syslog.until_records(1)

        assert body["message"] == "ok"
        assert syslog.dropped("bad_frame") == 1


@pytest.mark.parametrize(
    ("lines", "good", "bad", "reason"),
    [
        ("format octet_counting", b"%d %b" % (len(NEW) + 2, NEW + b"ok"), b"nonsense", "bad_frame"),
        ("format octet_counting", b"%d %b" % (len(NEW) + 2, NEW + b"ok"), b"101 x", "too_long"),
        ("", NEW + b"ok\n", b"x" * 101, "too_long"),
    ],
)
async def test_what_comes_in_one_piece_with_something_bad_behind_it_is_taken(
    lines: str, good: bytes, bad: bytes, reason: str
) -> None:
    async with running(f"mode tcp\nbuffer_max_size 100\n{lines}".rstrip()) as syslog:
        await syslog.send(good * 3 + bad)
        await syslog.until(lambda: syslog.refused(reason) == 1)

        assert [body["message"] for body in syslog.bodies] == ["ok"] * 3
        assert syslog.dropped(reason) == 1


async def test_a_datagram_is_a_message() -> None:
    async with running("mode udp\nsource_address_key sa") as syslog:
        syslog.send_datagrams(NEW + b"one\n", NEW + b"two", b"other")
        bodies = await syslog.until_records(2)
        await syslog.until(lambda: syslog.dropped("parser_mismatch") == 1)

        assert [body["message"] for body in bodies] == ["one", "two"]
        assert bodies[0]["sa"].startswith("udp://127.0.0.1:")


@pytest.mark.parametrize("mode", ["unix_tcp", "unix_udp"])
async def test_unix_sockets_have_the_permissions_that_are_asked_for(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with running(f"mode {mode}\npath {path}\nunix_perm 0620\nsource_address_key sa") as syslog:
        kind = socket.SOCK_STREAM if mode == "unix_tcp" else socket.SOCK_DGRAM
        permissions = stat.S_IMODE(path.stat().st_mode)
        with socket.socket(socket.AF_UNIX, kind) as sender:
            sender.connect(str(path))
            sender.sendall(b"<30>Dec 24 18:00:00 a[1]: one\n")
            (body,) = await syslog.until_records(1)

        assert permissions == 0o620
        assert (body["message"], body["sa"]) == ("one", str(path))

    assert not path.exists()


async def test_a_sender_on_a_unix_datagram_socket_waits_while_the_buffers_are_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipper.inputs.listening import datagrams

    monkeypatch.setattr(datagrams, "MOST_WAITING", 70_000)
    path = tmp_path / "s.sock"
    async with running(f"mode unix_udp\npath {path}") as syslog:
        syslog.gate.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
            message = b"<30>Dec 24 18:00:00 a[1]: " + b"x" * 1000
            sending = asyncio.create_task(asyncio.to_thread(_send_often, sender, message))
            await asyncio.sleep(0.1)
            was_held_up = not sending.done()
            syslog.gate.set()
            await sending

        assert was_held_up
        assert len(await syslog.until_records(1000)) == 1000
        assert syslog.context.metrics.total("input_dropped_records_total") == 0


def _send_often(sender: socket.socket, message: bytes) -> None:
    for _ in range(1000):
        sender.send(message)


@pytest.mark.parametrize(
    ("lines", "option"), [("", "path"), ("mode tcp\nparser nope", "parser"), ("mode unix_tcp", "path")]
)
def test_what_is_missing_is_named(lines: str, option: str) -> None:
    with pytest.raises(OptionError) as failure:
        running(lines)

    assert failure.value.option == option


@pytest.mark.parametrize(("mode", "name"), [("tcp", "syslog-rfc5424"), ("unix_udp", "syslog-rfc3164-local")])
def test_a_mode_has_a_parser_of_its_own(mode: str, name: str) -> None:
    with pytest.raises(OptionError, match=f"no parser named '{name}'"):
        Running(SyslogInput, f"mode {mode}\npath /nowhere/x")
