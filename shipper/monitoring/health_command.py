"""The command `shipper health`: asks a shipper that runs how it goes, for probes of images without a shell."""

from __future__ import annotations

import getopt
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

GOOD, BAD, MISUSED = 0, 1, 2
"""The exit statuses: it goes well, it does not or nobody answers, wrong arguments."""

_PATH = "/health"
"""The page that tells the warnings, too. It is there with and without `health_check`, and judges as the others do."""

_MOST_BYTES = 1_000_000
_USAGE = """usage: shipper health [-P PORT | -u URL] [-t SECONDS]

  -P, --port=PORT        port of the monitoring API on this machine; 2020 if it is not named
  -u, --url=URL          where to ask instead, such as http://10.0.0.7:2020; with a path this page is asked for
  -t, --timeout=SECONDS  longest wait for the whole answer; 5 if it is not named

Prints how it goes, the reasons if it does not go well, and warnings, which change nothing about the status.

Exit status: 0 it goes well, 1 it does not or nobody answers, 2 wrong arguments."""


class _Question(msgspec.Struct):
    """Where to ask, and how long to wait."""

    host: str = "127.0.0.1"
    port: int = 2020
    path: str = _PATH
    timeout_s: float = 5.0


class _NoAnswer(Exception):
    """Nobody has answered; the text says why."""


def run_health(arguments: Sequence[str]) -> int:
    """Do what the arguments behind `health` ask for; gives the exit status."""
    try:
        question = _read(arguments)
    except ValueError as error:
        print(f"shipper health: {error}\n\n{_USAGE}", file=sys.stderr)
        return MISUSED
    if question is None:
        print(_USAGE)
        return GOOD
    try:
        status, told = _health(question)
    except _NoAnswer as error:
        status, told = 0, f"no answer from {question.host} port {question.port}: {error}"
    print(told)
    return GOOD if status == 200 else BAD


def _read(arguments: Sequence[str]) -> _Question | None:
    """What is asked for, None for help; raises `ValueError` with words for the user."""
    try:
        pairs, rest = getopt.gnu_getopt(list(arguments), "P:u:t:h", ["port=", "url=", "timeout=", "help"])
    except getopt.GetoptError as error:
        raise ValueError(error.msg) from error
    if rest:
        raise ValueError(f"'{rest[0]}' is too much")
    found = _Question()
    for name, value in pairs:
        match name:
            case "-h" | "--help":
                return None
            case "-P" | "--port":
                found.port = _port(value)
            case "-t" | "--timeout":
                found.timeout_s = _seconds(value)
            case _:
                _read_url(value, found)
    return found


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):
        raise ValueError(f"'{text}' is no port")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise ValueError(f"'{text}' is no time to wait: write seconds, such as 5")
    return seconds


def _read_url(text: str, found: _Question) -> None:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"'{text}' is no address of a monitoring API: write one such as http://127.0.0.1:2020")
    found.host = parts.hostname
    found.port = parts.port or found.port
    if parts.path.strip("/"):
        found.path = parts.path + (f"?{parts.query}" if parts.query else "")


def _health(question: _Question) -> tuple[int, str]:
    """The status of the answer, and what it says."""
    return _shown(*_ask(question, time.monotonic() + question.timeout_s))


def _shown(status: int, body: bytes) -> tuple[int, str]:
    """The status and the body as text; of a page in JSON how it goes, why, and what else is wrong."""
    try:
        details: Any = msgspec.json.decode(body)
        lines = [str(details["status"]), *map(str, details.get("reasons", ()))]
        lines += [f"warning: {warning}" for warning in details.get("warnings", ())]
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
        lines = body.decode("utf-8", "replace").split("\n")
    text = "\n".join(line for line in lines if line)
    return status, text or f"status {status}"


def _ask(question: _Question, deadline: float) -> tuple[int, bytes]:
    """The status and the body of the page; raises `_NoAnswer` if they have not come by the deadline."""
    host = f"[{question.host}]" if ":" in question.host else question.host
    # With the old version of HTTP the end of the connection is the end of the answer.
    request = f"GET {question.path} HTTP/1.0\r\nHost: {host}:{question.port}\r\n\r\n".encode("ascii")
    answer = b""
    try:
        with socket.create_connection((question.host, question.port), _left(deadline)) as connection:
            connection.sendall(request)
            while len(answer) < _MOST_BYTES:
                connection.settimeout(_left(deadline))
                part = connection.recv(65_536)
                if not part:
                    break
                answer += part
    except TimeoutError:
        raise _NoAnswer(f"not within {question.timeout_s:g} s") from None
    except OSError as error:
        raise _NoAnswer(error.strerror or str(error)) from error
    except UnicodeError:
        raise _NoAnswer("that is no name of a host") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1][:3].isdigit():
        raise _NoAnswer("what came is no HTTP")
    return int(words[1][:3]), body


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
